import io
import struct
import zlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from lts_keras.data.prepare.mask_pictures import mask_size, read_mask
from lts_keras.data.schema import DataError

masks = np_st.arrays(bool, np_st.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))


def saved(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(image)) if isinstance(image, np.ndarray) else image
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(pixels, color_type, depth=8, further=b"", size=None):
    """A PNG of any depth and kind of colour, written by hand: Pillow writes no 16 bits of colour."""
    height, width = size or pixels.shape[:2]
    rows = np.ascontiguousarray(pixels, f">u{depth // 8}").reshape(pixels.shape[0], -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + further + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def palette(indices, colors=(255, 255, 255, 0, 0, 0), **options):
    image = Image.fromarray(np.ascontiguousarray(indices, "uint8"), "P")
    image.putpalette([*colors, *[0] * ((768 if "bits" not in options else 0) - len(colors))])
    return saved(image, **options)


def with_alpha(mask, colors, alpha=255, ground=0):
    return np.dstack([*colors, np.where(mask, alpha, ground)]).astype("uint8")


def noise(shape, *channels):
    return np.random.default_rng(0).integers(0, 256, (*shape, *channels), "uint8")


FORMS = {
    "one bit": saved,
    "grey": lambda mask: saved(mask * np.uint8(255)),
    "label 1": lambda mask: saved(mask * np.uint8(1)),
    "label 254": lambda mask: saved(mask * np.uint8(254)),
    **{f"16 bits, {value}": lambda mask, v=value: saved(mask * np.uint16(v)) for value in (1, 200, 1000, 65535)},
    "blue 1": lambda mask: saved(np.dstack([mask * 0, mask * 0, mask]).astype("uint8")),
    "16 bits of colour, green 1": lambda mask: png(np.dstack([mask * 0, mask, mask * 0]), 2, 16),
    "opaque colour": lambda mask: saved(with_alpha(mask, [mask * 200] * 3, ground=255)),
    "transparent as a whole": lambda mask: saved(with_alpha(mask, [mask, mask, mask], alpha=0)),
    "palette, white ground": palette,
    "palette, black on black": lambda mask: palette(mask, (0, 0, 0, 0, 0, 0)),
    "palette, one bit": lambda mask: palette(mask, bits=1),
    "palette, index 255": lambda mask: palette(mask * np.uint8(255)),
    "2 bits": lambda mask: saved(mask * np.uint8(3), bits=2),
    "interlaced order of rows": lambda mask: saved(np.asfortranarray(mask)),
}

CUTOUTS = {
    "cut-out": lambda mask: saved(with_alpha(mask, [noise(mask.shape)] * 3)),
    "cut-out of a black thing": lambda mask: saved(with_alpha(mask, [~mask * 255] * 3)),
    "grey cut-out": lambda mask: saved(with_alpha(mask, [noise(mask.shape)])),
    "16 bits of alpha": lambda mask: png(np.dstack([noise(mask.shape), mask * 65535]), 4, 16),
    "painted at a third": lambda mask: saved(with_alpha(mask, [noise(mask.shape)] * 3, alpha=85)),
    "palette, index 0 opaque": lambda mask: palette(~mask, transparency=b"\xff\0"),
    "palette, one clear index": lambda mask: palette(~mask, transparency=1),
    "grey with a clear colour": lambda mask: saved(np.where(mask, 7, 90).astype("uint8"), transparency=90),
    "16 bits with a clear colour": lambda mask: saved(np.where(mask, 7, 900).astype("uint16"), transparency=900),
    "colour with a clear colour": lambda mask: saved(
        np.dstack([np.where(mask, 9, 8), mask * 0 + 3, mask * 0]).astype("uint8"), transparency=(8, 3, 0)
    ),
    "clear black": lambda mask: saved(mask, transparency=0),
}


@pytest.mark.parametrize("form", FORMS)
@hypothesis.given(mask=masks)
@hypothesis.settings(max_examples=30)
def test_one_mask_in_every_form_comes_back(form, mask):
    found, kind = read_mask(FORMS[form](mask))
    np.testing.assert_array_equal(found, mask)
    assert (found.dtype, kind) == (bool, None)


@pytest.mark.parametrize("form", CUTOUTS)
@hypothesis.given(mask=masks.filter(lambda mask: mask.any() and not mask.all()))
@hypothesis.settings(max_examples=30)
def test_one_mask_in_every_form_with_transparency_comes_back(form, mask):
    found, kind = read_mask(CUTOUTS[form](mask))
    np.testing.assert_array_equal(found, mask)
    assert kind is None


def test_transparency_is_cut_at_half():
    pixels = np.zeros((1, 5, 4), "uint8")
    pixels[..., 3] = [0, 127, 128, 255, 0]
    mask, kind = read_mask(saved(pixels))
    assert (mask[0].tolist(), kind) == ([False, False, True, True, False], "soft_masks")


def test_transparency_that_hardly_varies_says_nothing():
    pixels = np.zeros((1, 3, 4), "uint8")
    pixels[..., 3], pixels[..., 1] = [254, 255, 250], [0, 9, 0]
    assert read_mask(saved(pixels))[0][0].tolist() == [False, True, False]


def test_two_bits_with_a_clear_colour():
    # 0, 1, 2, 3 in two bits, of which 1 is clear; Pillow spreads the pixels over 0 to 255, and not the colour.
    header = struct.pack(">IIBBBBB", 4, 1, 2, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"tRNS", b"\0\1") + chunk(b"IDAT", zlib.compress(b"\0\x1b"))
    mask, _ = read_mask(b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b""))
    assert mask[0].tolist() == [True, False, True, True]


def test_the_border_of_pascal_voc_is_outside_where_there_are_objects():
    indices = np.array([[0, 255, 15, 255, 3, 0]], "uint8")
    assert read_mask(palette(indices))[0][0].tolist() == [False, False, True, False, True, False]
    # Grey pictures have no such rule: 255 is what most masks are drawn in.
    assert read_mask(saved(indices))[0][0].tolist() == [False, True, True, True, True, False]


@hypothesis.given(
    st.lists(st.integers(0, 255), min_size=1, max_size=40),
    st.integers(1, 4),
    st.sampled_from(["uint8", "uint16"]),
    st.randoms(use_true_random=False),
)
def test_pictures_of_labels_are_never_taken_for_soft_masks(labels, scale, kind, random):
    """Rectangles of any labels on any ground, 4 pixels and more a side, one over the other."""
    values = np.zeros((60, 80), kind)
    for label in labels:
        top, left = random.randrange(0, 57, 4), random.randrange(0, 77, 4)
        size = random.randrange(4, 24, 4)
        values[top : top + size, left : left + size] = label * (scale * 64 if kind == "uint16" else 1)
    mask, found = read_mask(saved(values))
    np.testing.assert_array_equal(mask, values > 0)
    assert found is None


def scene(size=(640, 480), scale=1):
    image = Image.new("L", size, 0)
    draw = ImageDraw.Draw(image)
    draw.ellipse([100 * scale, 80 * scale, 300 * scale, 240 * scale], fill=255)
    draw.polygon([(350 * scale, 100 * scale), (500 * scale, 150 * scale), (400 * scale, 300 * scale)], fill=255)
    return image


SOFT = {
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "blurred far": lambda image: image.filter(ImageFilter.GaussianBlur(9)),
    "enlarged": lambda image: image.resize((320, 240), Image.Resampling.NEAREST).resize(image.size, 2),
    **{
        f"once a JPEG of quality {quality}": lambda image, q=quality: Image.open(
            io.BytesIO(saved(image, "JPEG", quality=q))
        ).convert("L")
        for quality in (20, 50, 80, 90)
    },
    "colour": lambda image: image.filter(ImageFilter.GaussianBlur(2)).convert("RGB"),
    "red": lambda image: Image.merge(
        "RGB", [image.filter(ImageFilter.GaussianBlur(2)), *[Image.new("L", image.size)] * 2]
    ),
}


@pytest.mark.parametrize("form", SOFT)
def test_soft_masks_are_cut_at_half(form):
    image = scene()
    truth = np.asarray(image) > 0
    values = np.asarray(SOFT[form](image))
    values = values.max(-1) if values.ndim == 3 else values
    mask, kind = read_mask(saved(SOFT[form](image)))
    assert kind == "soft_masks"
    np.testing.assert_array_equal(mask, values >= 128)
    # Above zero, the same picture is a mask with a rim around it.
    assert np.sum(mask ^ truth) < 0.5 * np.sum((values > 0) ^ truth) and np.sum(mask ^ truth) < 0.02 * truth.sum()


def test_smoothed_and_small_soft_masks():
    smooth = np.asarray(scene((2560, 1920), 4).resize((640, 480), Image.Resampling.BOX))
    mask, kind = read_mask(saved(smooth))
    assert kind == "soft_masks"
    np.testing.assert_array_equal(mask, smooth >= 128)
    small = np.zeros((24, 24), "uint8")
    small[8:16, 6:17] = 255
    blurred = np.asarray(Image.fromarray(small).filter(ImageFilter.GaussianBlur(1)))
    mask, kind = read_mask(saved(blurred))
    assert (mask.sum(), kind) == ((blurred > 127).sum(), "soft_masks")


def test_soft_masks_of_sixteen_bits():
    values = np.asarray(scene().filter(ImageFilter.GaussianBlur(2))).astype("uint16")
    for scaled in (values, values * 257):
        mask, kind = read_mask(saved(scaled))
        assert kind == "soft_masks"
        np.testing.assert_array_equal(mask, values >= 128)


@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("color", [(255,), (255, 0, 0), (0, 0, 255), (255, 255, 255)])
def test_a_jpeg_is_cut_at_half(color, quality):
    truth = np.zeros((48, 64), bool)
    truth[16:32, 8:40] = True
    pixels = np.squeeze(truth[..., None] * np.array(color, "uint8"))
    mask, kind = read_mask(saved(pixels, "JPEG", quality=quality, subsampling=0))
    np.testing.assert_array_equal(mask, truth)
    assert kind == "jpeg_masks"


@pytest.mark.parametrize("code", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_orientation_is_applied(kind, code):
    stored = np.zeros((16, 32), "uint8")
    stored[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = code
    content = saved(stored, kind, exif=exif)
    shown = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content)))) >= 128
    np.testing.assert_array_equal(read_mask(content)[0], shown)
    assert mask_size(content) == shown.shape


def wrong_check_sum(content):
    place = content.index(b"IDAT") + 8
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


GREY = np.tile(np.arange(40, dtype="uint8"), (30, 1))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: saved(GREY, "BMP"), "a BMP file; a mask is a PNG of the photo's size"),
        (lambda: saved(GREY, "GIF"), "a GIF file"),
        (lambda: saved(GREY, "WebP"), "a WebP file"),
        (lambda: saved(GREY, "TIFF"), "a TIFF file"),
        (lambda: saved(GREY, "PPM"), "a PGM file"),
        (lambda: saved(GREY, "JPEG2000"), "a JPEG 2000 file|no picture"),
        (lambda: b"<svg></svg>", "SVG"),
        (lambda: b"\x93NUMPY\1\0v\0", "a NumPy file"),
        (lambda: b"", "an empty file"),
        (lambda: b"mask", r"no picture that can be read \(4 bytes\)"),
        (lambda: saved(GREY)[:-30], "cut or damaged"),
        (lambda: saved(GREY)[:-12], "cut or damaged"),
        (lambda: saved(GREY)[:20], "cut or damaged"),
        (lambda: saved(GREY, "JPEG")[:-200], "cut or damaged"),
        (lambda: wrong_check_sum(saved(GREY)), "cut or damaged"),
        (lambda: png(GREY, 0, size=(0, 0)), "cut or damaged"),
        (lambda: png(GREY, 0, size=(50, 30)), "cut or damaged"),
        (lambda: png(GREY, 0, size=(8000, 8000)), "8000 x 8000 pixels, at most 50,000,000"),
        (lambda: png(GREY, 0, size=(12000, 10000)), "far too many pixels"),
        (lambda: png(GREY, 0, size=(2**31 - 1, 2**31 - 1)), "far too many pixels"),
        (
            lambda: saved(Image.fromarray(GREY), save_all=True, append_images=[Image.fromarray(GREY + 1)]),
            "2 pictures in one file",
        ),
        (
            lambda: saved(Image.fromarray(GREY), "MPO", save_all=True, append_images=[Image.fromarray(GREY)]),
            "2 pictures in one file",
        ),
    ],
)
def test_what_is_no_mask_is_refused_in_one_line(content, words):
    with pytest.raises(DataError, match=words) as caught:
        read_mask(content())
    assert "\n" not in str(caught.value) and "0x" not in str(caught.value)
    assert mask_size(content()) in (None, (30, 40), (50, 30), (8000, 8000), (12000, 10000))


@hypothesis.given(st.data())
def test_damage_is_refused_or_reads_as_some_mask(data):
    content = bytearray(saved(with_alpha(GREY > 20, [GREY] * 3)))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        mask, _ = read_mask(bytes(content[: data.draw(st.integers(0, len(content)))]))
        assert mask.dtype == bool and mask.ndim == 2
    except DataError as error:
        assert "\n" not in str(error)
