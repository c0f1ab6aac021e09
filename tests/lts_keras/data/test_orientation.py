import io
import struct
import warnings
import zlib

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from PIL import Image, ImageOps

from lts_keras.data.input.geometry import decode_image
from lts_keras.data.orientation import exif_orientation, read_orientation, upright, upright_size
from tests.turned import CODES, KINDS, flat_scene, stored, turned_photo

SCENE = np.random.default_rng(3).integers(0, 256, (5, 7, 3), "uint8")
# Tag 0x0112 says 6, in both byte orders, written out.
LITTLE = bytes.fromhex("49492a00 08000000 0100 1201 0300 01000000 06000000 00000000")
BIG = bytes.fromhex("4d4d002a 00000008 0001 0112 0003 00000001 00060000 00000000")


def encoded(kind="JPEG", **options):
    file = io.BytesIO()
    Image.fromarray(SCENE).save(file, kind, **options)
    return file.getvalue()


def segment(marker, content):
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def app1(block):
    return segment(0xE1, b"Exif\0\0" + block)


def jpeg(*segments, photo=None):
    """A JPEG file with segments put behind its start."""
    photo = encoded() if photo is None else photo
    return photo[:2] + b"".join(segments) + photo[2:]


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(*chunks):
    """A PNG file with chunks put behind its first."""
    photo = encoded("PNG")
    return photo[:33] + b"".join(chunks) + photo[33:]


def by_pillow(content):
    with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content)) as photo:
        code = photo.getexif().get(0x0112, 1)
    return code if code in CODES else 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", CODES)
def test_photos_stand_as_other_programs_show_them(code, kind):
    content = turned_photo(flat_scene(24, 40), code, kind)
    with Image.open(io.BytesIO(content)) as photo:
        expected = np.asarray(ImageOps.exif_transpose(photo))
    assert read_orientation(content) == code
    np.testing.assert_array_equal(decode_image(content), expected)
    np.testing.assert_array_equal(expected, flat_scene(24, 40))


@pytest.mark.parametrize("code", CODES)
def test_pixels_are_turned_by_number_or_tensor(code):
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(turned_photo(SCENE, code)))))
    pixels = decode_image(turned_photo(SCENE, code), 1)
    for orientation in (code, tf.constant(code, tf.int64), np.int64(code)):
        np.testing.assert_array_equal(upright(pixels, orientation), expected)
    assert upright_size(*pixels.shape[:2], code) == expected.shape[:2]


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 6, 3), (6, 1, 3), (3, 2, 1)])
def test_narrow_pictures_are_turned_too(shape):
    pixels = np.arange(np.prod(shape), dtype="uint8").reshape(shape)
    for code in CODES:
        np.testing.assert_array_equal(upright(stored(pixels, code), code), pixels)


# Kind, bytes of one value.
TYPES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4}


@st.composite
def exif_blocks(draw):
    """A TIFF directory with other tags around the orientation, values of more than four bytes behind it."""
    order = draw(st.sampled_from("<>"))
    tags = draw(st.lists(st.sampled_from([0x10E, 0x10F, 0x110, 0x131, 0x132, 0x213, 0x8298, 0xC4A5]), unique=True))
    entries = []
    for tag in tags:
        kind = draw(st.sampled_from(sorted(TYPES)))
        count = draw(st.integers(1, 9))
        entries.append((tag, kind, count, draw(st.binary(min_size=TYPES[kind] * count, max_size=TYPES[kind] * count))))
    for kind in draw(st.lists(st.sampled_from([3, 4]), max_size=2)):
        value = struct.pack(order + ("H" if kind == 3 else "I"), draw(st.integers(0, 12)))
        entries.insert(draw(st.integers(0, len(entries))), (0x0112, kind, 1, value))
    gap = draw(st.binary(max_size=9))
    start = 8 + len(gap)
    place, directory, behind = start + 2 + 12 * len(entries) + 4, b"", b""
    for tag, kind, count, value in entries:
        directory += struct.pack(order + "HHI", tag, kind, count)
        directory += value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(order + "I", place + len(behind))
        behind += value if len(value) > 4 else b""
    magic = b"II*\0" if order == "<" else b"MM\0*"
    head = magic + struct.pack(order + "I", start) + gap + struct.pack(order + "H", len(entries))
    return head + directory + bytes(4) + behind


other_segments = st.sampled_from(
    [
        segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>"),
        segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(3000)),
        segment(0xED, b"Photoshop 3.0\0" + app1(LITTLE)),
        segment(0xFE, b"a comment, then " + app1(BIG)),
        b"\xff" * 5 + segment(0xFE, b"behind fill bytes"),
    ]
)


@hypothesis.settings(max_examples=300)
@hypothesis.given(exif_blocks(), st.lists(other_segments, max_size=4), st.integers(0, 4), st.integers(0, 10**6))
def test_any_block_among_any_segments_is_read_as_pillow_reads_it(block, others, place, cut):
    content = jpeg(*others[:place], app1(block), *others[place:])
    assert read_orientation(content) == by_pillow(content)
    assert read_orientation(png(chunk(b"eXIf", block))) == by_pillow(png(chunk(b"eXIf", block)))
    # Cut anywhere, there is an answer.
    assert read_orientation(content[: cut % len(content)]) in CODES
    assert read_orientation(jpeg(app1(block[: cut % len(block)]))) in CODES


@hypothesis.settings(max_examples=300)
@hypothesis.given(st.data())
def test_damaged_files_never_fail(data):
    content = bytearray(data.draw(st.sampled_from([jpeg(app1(BIG)), jpeg(app1(LITTLE)), png(chunk(b"eXIf", BIG))])))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, 80))] = data.draw(st.integers(0, 255))
    assert read_orientation(bytes(content)) in CODES


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (jpeg(app1(LITTLE)), 6),
        (jpeg(app1(BIG)), 6),
        (png(chunk(b"eXIf", LITTLE)), 6),
        (png(chunk(b"tIME", bytes(7)), chunk(b"eXIf", b"Exif\0\0" + BIG)), 6),
        (jpeg(app1(LITTLE), app1(BIG.replace(b"\0\6", b"\0\3"))), 6),
        (jpeg(app1(BIG.replace(b"\0\3\0", b"\0\4\0").replace(b"\0\6\0\0", b"\0\0\0\6"))), 6),
        (jpeg(*[segment(0xE2, bytes(65_000))] * 40, app1(BIG)), 6),
        (encoded().replace(b"\xff\xda", app1(BIG) + b"\xff\xda", 1), 6),
        (jpeg(photo=encoded(exif=b"Exif\0\0" + LITTLE, progressive=True)), 6),
    ],
    ids=[
        "little",
        "big",
        "png",
        "png-named",
        "first-block-counts",
        "long",
        "behind-2.6-MB",
        "before-the-scan",
        "progressive",
    ],
)
def test_orientations_that_are_read(content, code):
    assert read_orientation(content) == by_pillow(content) == code


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Exif",
        b"Exif\0\0" + LITTLE,
        encoded(),
        encoded("PNG"),
        encoded("BMP") + app1(LITTLE),
        encoded() + app1(LITTLE),
        encoded()[:-2] + app1(LITTLE) + b"\xff\xd9",
        jpeg(segment(0xFE, app1(LITTLE))),
        jpeg(segment(0xE2, b"Exif\0\0" + LITTLE)),
        jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation='6' about='Exif\0\0'/>")),
        jpeg(app1(b"")),
        jpeg(app1(LITTLE[:17])),
        jpeg(app1(LITTLE.replace(b"\6", b"\x09"))),
        jpeg(app1(LITTLE.replace(b"\6", b"\0"))),
        jpeg(app1(LITTLE.replace(b"\3\0", b"\1\0"))),
        jpeg(app1(b"II*\0\xff\xff\xff\xff" + LITTLE[8:])),
        jpeg(app1(b"II+\0" + LITTLE[4:])),
        png(chunk(b"tEXt", b"Comment\0eXIf" + LITTLE)),
        encoded("PNG") + chunk(b"eXIf", LITTLE),
        encoded("PNG")[:33] + b"\x7f\xff\xff\xffaaaa" + b"eXIf",
        encoded("PNG")[:33] + b"\xff\xff\xff\xffaaaa" + b"eXIf" + LITTLE,
        b"\xff\xd8" + b"\xff" * 2_000_000 + app1(LITTLE),
        b"\xff\xd8\xff" + b"\0" * 2_000_000 + app1(LITTLE),
    ],
)
def test_what_is_no_orientation_of_the_photo_leaves_it_as_it_is(content):
    assert read_orientation(content) == 1
    assert int(exif_orientation(content)) == 1


def test_reads_and_turns_inside_tf_data():
    contents = [turned_photo(SCENE, code) for code in CODES]
    photos = tf.data.Dataset.from_tensor_slices(contents).map(
        lambda content: (decode_image(content), exif_orientation(content))
    )
    assert photos.element_spec == (tf.TensorSpec([None, None, 3], tf.uint8), tf.TensorSpec([], tf.int32))
    for code, (pixels, found) in enumerate(photos, 1):
        assert int(found) == code
        np.testing.assert_array_equal(pixels, SCENE)
