"""Pixels without TensorFlow are those that the network was trained on."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from lts_keras.data.input.geometry import decode_image
from lts_keras.data.orientation import read_orientation, upright
from lts_keras.data.plain_photo import decode_photo, read_plain_orientation, turn_upright
from lts_keras.data.schema import DataError
from tests.small_models import photo_bytes
from tests.turned import CODES, KINDS, flat_scene, turned_photo

SCENE = np.random.default_rng(5).integers(0, 256, (9, 14, 4), "uint8")


def saved(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pictures():
    rgb, grey = Image.fromarray(SCENE[..., :3].copy()), Image.fromarray(SCENE[..., 0].copy())
    deep = Image.fromarray(SCENE[..., 0].astype(np.uint16) * 256 + SCENE[..., 1])
    palette = rgb.convert("P", palette=Image.Palette.ADAPTIVE, colors=8)
    return {
        "rgb": saved(rgb),
        "transparent": saved(Image.fromarray(SCENE)),
        "opaque": saved(Image.fromarray(np.dstack([SCENE[..., :3], np.full((9, 14), 200, "uint8")]))),
        "grey": saved(grey),
        "grey and alpha": saved(Image.merge("LA", [grey, Image.fromarray(SCENE[..., 1].copy())])),
        "bits": saved(grey.convert("1")),
        "16 bits": saved(deep),
        "palette": saved(palette),
        "palette with a hole": saved(palette, transparency=3),
        "grey JPEG": saved(grey, "JPEG"),
        "progressive JPEG": saved(Image.open(io.BytesIO(photo_bytes(61, 83))), "JPEG", progressive=True),
        "small chroma JPEG": saved(Image.open(io.BytesIO(photo_bytes(61, 83))), "JPEG", subsampling=2, quality=70),
    }


@pytest.mark.parametrize("name", pictures())
def test_pixels_are_tensorflows(name):
    content = pictures()[name]
    expected = decode_image(tf.constant(content)).numpy()
    found = decode_photo("photo", content, 10_000)
    assert found.shape == expected.shape and found.dtype == np.uint8
    # Both decode JPEG with the same library; its newer versions round a few pixels of small chroma otherwise.
    assert np.abs(found.astype(int) - expected).max() <= (1 if "JPEG" in name else 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", CODES)
def test_photos_are_turned_upright(code, kind):
    scene = flat_scene(24, 40)
    found = decode_photo("photo", turned_photo(scene, code, kind), 10_000)
    assert found.shape == scene.shape and np.abs(found.astype(int) - scene).max() <= (2 if kind == "JPEG" else 0)
    np.testing.assert_array_equal(turn_upright(scene, code), upright(tf.constant(scene), code).numpy())


HEADS = st.sampled_from([b"\xff\xd8", b"\xff\xd8", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b""])
ENTRIES = st.builds(
    lambda order, tag, kind, count, number: struct.pack(f"{order}HHII", tag, kind, count, number),
    st.sampled_from("<>"),
    st.sampled_from([0x0112, 0x0112, 0x0100]),
    st.sampled_from([3, 4, 2]),
    st.integers(0, 3),
    st.sampled_from([0, 1, 6, 8, 9, 6 << 16, 3 << 24]),
)
BLOCKS = st.builds(
    lambda name, head, start, count, entries: name + head + start + count + b"".join(entries),
    st.sampled_from([b"", b"Exif\0\0"]),
    st.sampled_from([b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"XX*\0"]),
    st.sampled_from([b"\x08\0\0\0", b"\0\0\0\x08", b"\xff\xff\xff\xff", b"\x09\0\0\0"]),
    st.sampled_from([b"\x01\0", b"\0\x01", b"\x02\0", b"\0\x02", b"\xff\xff"]),
    st.lists(ENTRIES, max_size=3),
)
PARTS = st.one_of(
    st.sampled_from([b"\xff", b"\xff\xff", b"\xff\x01", b"\xff\xd0", b"\xff\xda\0\4", b"\0", b"Exif\0\0", b"eXIf"]),
    BLOCKS.map(lambda block: b"\xff\xe1" + struct.pack(">H", len(block) + 8) + b"Exif\0\0" + block),
    BLOCKS.map(lambda block: struct.pack(">I", len(block)) + b"eXIf" + block + b"crc!"),
    st.just(struct.pack(">I", 4) + b"IDAT" + bytes(8)),
    st.binary(max_size=12),
)


SIX = b"\xff\xe1\0\x22Exif\0\0" + bytes.fromhex("49492a00080000000100120103000100000006000000")


@settings(max_examples=300)
@given(head=HEADS, parts=st.lists(PARTS, max_size=5), cut=st.integers(0, 30))
@example(head=b"\xff\xd8", parts=[SIX], cut=0)
@example(head=b"\xff\xd8", parts=[b"\xff\xd0", SIX], cut=0)
@example(head=b"\xff\xd8", parts=[b"\xff\xd8\0\xff\xff\x01", SIX], cut=0)
@example(head=b"\xff\xd8", parts=[b"\xff\xda\0\2", SIX], cut=0)
@example(head=b"\x89PNG\r\n\x1a\n", parts=[struct.pack(">I", 26) + b"eXIf" + SIX[10:]], cut=0)
def test_any_bytes_are_turned_as_the_graph_does(head, parts, cut):
    content = head + b"".join(parts) + bytes(12)
    content = content[: len(content) - cut]
    assert read_plain_orientation(content) == read_orientation(content)


def test_the_photo_of_the_examples_is_turned():
    assert read_plain_orientation(b"\xff\xd8" + SIX + bytes(12)) == 6


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "photo: no JPEG or PNG photo that can be read"),
        (b"GIF89a" + bytes(40), "photo: no JPEG or PNG photo that can be read"),
        (photo_bytes()[:200], "photo: no JPEG or PNG photo that can be read"),
        (photo_bytes(101, 100), "photo: the photo must have 1 to 10000 pixels; its height and width: 101 100"),
    ],
)
def test_what_cannot_be_read_is_one_line(content, told):
    with pytest.raises(DataError, match=told) as caught:
        decode_photo("photo", content, 10_000)
    assert "\n" not in str(caught.value)


def test_a_bomb_is_refused_by_its_header():
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    png = saved(Image.new("RGB", (1, 1)))
    import zlib

    chunk = b"IHDR" + header
    content = png[:8] + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[33:]
    with pytest.raises(DataError):
        decode_photo("photo", content, 50_000_000)
