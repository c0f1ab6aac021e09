"""What a request costs is read from headers alone."""

import io
import struct
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from serving.core.cost import Cost, cost_of, photo_pixels
from tests.small_models import photo_bytes

HEADER = b"\xff\xfe\0\2"
HIDING = [3000 * HEADER, 70_000 * b"\0", 40_000 * b"\xff\0", 40_000 * b"\0" + HEADER + 40_000 * b"\0"]


def encoded(width, height, kind, **more):
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, kind, **more)
    return file.getvalue()


def strings(*values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from(["JPEG", "PNG", "GIF"]), st.booleans())
def test_photos_have_the_pixels_that_pillow_finds(width, height, kind, progressive):
    more = {"progressive": progressive, "exif": b"Exif\0\0" + 50 * b"\xff\xc0"} if kind == "JPEG" else {}
    assert photo_pixels(encoded(width, height, kind, **more)) == width * height


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(2, 9), st.integers(1, 256))
def test_each_picture_of_a_moving_gif_counts(width, height, pictures, colors):
    rng = np.random.default_rng(width)
    frames = [
        Image.fromarray(rng.integers(0, 255, (height, width, 3), np.uint8)).quantize(colors) for _ in range(pictures)
    ]
    for number, frame in enumerate(frames):
        frame.putpixel((0, 0), number % colors)  # Pillow leaves out a picture that is the one before
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], comment=b"a comment" * 40)
    with Image.open(file) as written:
        assert photo_pixels(file.getvalue()) == width * height * written.n_frames


def test_a_gif_of_countless_blocks_costs_most_and_little_time():
    head = b"GIF89a" + struct.pack("<HH", 5, 5) + bytes(3)
    start = time.process_time()
    assert photo_pixels(head + b"\x21\xfe" + b"\x01a" * 20_000_000) == 0xFFFF**2
    assert time.process_time() - start < 2


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([b"", b"GIF89a", b"\xff\xd8", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"]))
def test_junk_costs_what_it_says_and_never_fails(junk, head):
    assert photo_pixels(head + junk) >= 0


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_photo_cut_off_anywhere_costs_all_or_nothing(data):
    photo = photo_bytes(30, 40)
    assert photo_pixels(photo[: data.draw(st.integers(0, len(photo)))]) in (0, 1200)


def test_the_thumbnail_in_front_of_a_photo_does_not_count():
    thumbnail = encoded(10, 10, "JPEG")
    head = b"\xff\xd8\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    assert photo_pixels(head + encoded(70, 50, "JPEG")[2:]) == 3500


def test_garbage_and_padding_before_a_marker_are_skipped_as_decoders_do():
    photo = encoded(70, 50, "JPEG")
    assert photo_pixels(photo[:2] + b"garbage\0" + b"\xff\0" + 9 * b"\xff" + photo[2:]) == 3500


@pytest.mark.parametrize(
    "filler", [b"\xff", b"\xff\0", b"\xff\xd0", b"\xff\xfe\0\2", b"\xff\xfe\0\0", b"\0", b"\xff\xff\0"], ids=repr
)
def test_megabytes_of_headers_are_read_in_no_time(filler):
    content = b"\xff\xd8" + filler * (2**26 // len(filler))
    started = time.process_time()
    pixels = photo_pixels(content)
    assert time.process_time() - started < 0.5
    assert pixels in (0, 0xFFFF**2)


@pytest.mark.parametrize("filler", HIDING, ids=len)
def test_a_size_hidden_behind_thousands_of_headers_counts_as_the_largest(filler):
    photo = encoded(70, 50, "JPEG")
    assert photo_pixels(photo[:2] + filler + photo[2:]) == 0xFFFF**2


def test_rows_bytes_and_pixels_of_requests():
    photo = photo_bytes(30, 40)
    one = {"image_bytes": strings(photo), "expression": strings(b"a")}
    assert cost_of(one) == Cost(rows=1, bytes=16 + len(photo) + 1 + 80 + 64, pixels=1200, sentence_bytes=1)
    three = {"image_bytes": strings(photo), "expression": strings(b"a", b"b", b"c")}
    assert (cost_of(three).rows, cost_of(three).pixels) == (3, 3600)
    pairs = {"image_bytes": strings(photo, photo_bytes(10, 10)), "expression": strings(b"a", b"b")}
    assert (cost_of(pairs).rows, cost_of(pairs).pixels) == (2, 1300)
    assert cost_of(three).sentence_bytes == 3
    assert cost_of({"expression": strings(b"abc")}).sentence_bytes == 0  # of a model that is none of ours
    assert cost_of({"x": np.zeros((5, 2), np.float32)}) == Cost(rows=5, bytes=40)
    assert cost_of({"x": np.array(1.0)}) == Cost(rows=1, bytes=8)
    assert cost_of({"x": np.zeros(0), "image_bytes": strings()}) == Cost(rows=0)
    assert cost_of({}) == Cost(rows=1)
    assert cost_of({"image_bytes": np.array(photo, dtype=object), "expression": strings(b"a", b"b")}).pixels == 2400


def test_a_thousand_sentences_on_a_large_photo_cost_a_thousand_photos():
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 10_000, 5_000)
    many = {"image_bytes": strings(png), "expression": strings(*[b"the dog"] * 1024)}
    assert cost_of(many).pixels == 1024 * 50_000_000
