"""Masks that users give as pictures: PNG in all its kinds, and JPEG."""

import io
import warnings

import numpy as np
import tensorflow as tf
from PIL import Image

from lts_keras.config.defaults import MAX_PHOTO_PIXELS
from lts_keras.data.orientation import read_orientation, upright, upright_size
from lts_keras.data.prepare.mask_values import mask_from_alpha, mask_from_indices, mask_from_values
from lts_keras.data.schema import DataError

__all__ = ["mask_size", "read_mask"]

_RIGHT = "a mask is a PNG of the photo's size"
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_OTHERS = (
    ("a BMP file", 0, b"BM"),
    ("a GIF file", 0, b"GIF8"),
    ("a WebP file", 8, b"WEBP"),
    ("a TIFF file", 0, b"II*\0"),
    ("a TIFF file", 0, b"MM\0*"),
    ("an AVIF or HEIF file", 4, b"ftyp"),
    ("a JPEG 2000 file", 4, b"jP  "),
    ("a Photoshop file", 0, b"8BPS"),
    ("a NumPy file", 0, b"\x93NUMPY"),
    ("a zip file", 0, b"PK\x03\x04"),
    ("a PDF file", 0, b"%PDF"),
    *((f"a {name} file", 0, b"P%d" % number) for number, name in enumerate(2 * ("PBM", "PGM", "PPM"), start=1)),
    ("SVG, XML or HTML text", 0, b"<"),
    ("JSON text", 0, b"{"),
    ("JSON text", 0, b"["),
)


def read_mask(content):
    """Reads the mask that a user drew.

    | picture | inside |
    |---|---|
    | with transparency (grey, colour or palette) | at least half of its largest value, where it falls below that |
    | palette | every index but 0; 255 is outside where there are others (PASCAL VOC's border). Colours say nothing |
    | grey of 1 to 16 bits | above zero, whatever the value; soft ones above half, see `mask_from_values` |
    | colour | as grey, of the largest channel |
    | JPEG | as colour, at least 128 of 255: it has no exact values |

    Transparency that never falls below half of its largest value, such as the same everywhere, says nothing: the other
    rows decide. An EXIF orientation is applied, as to photos.

    Args:
        content: bytes of the file.

    Returns:
        Tuple of a bool array `(height, width)` and the kind of finding: `"jpeg_masks"`, `"soft_masks"` (values between
        inside and outside were cut at half) or `None`.

    Raises:
        DataError: another format, several pictures in one file, more than 50 million pixels, a file that is cut or
            damaged. Nothing of the size of the picture is in memory before its size is known to be allowed.
    """
    if not content.startswith((_PNG, _JPEG)):
        raise DataError(f"the mask is {_name_format(content)}; {_RIGHT}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as picture:
                _check(picture, content)
                mask, kind = _read_jpeg(picture) if content.startswith(_JPEG) else _read_png(picture, content)
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"the mask has far too many pixels, at most {MAX_PHOTO_PIXELS:,} are read; {_RIGHT}") from error
    except Exception as error:  # Pillow has no common class for what a damaged file brings about.
        raise DataError(f"the mask is cut or damaged ({len(content)} bytes); {_RIGHT}") from error
    orientation = read_orientation(content)
    if orientation != 1:
        # Of bytes: TensorFlow turns no bool.
        mask = upright(mask[..., None].view("uint8"), orientation).numpy()[..., 0].astype(bool)
    return mask, kind


def mask_size(content):
    """Returns `(height, width)` of what `read_mask` gives, from the header alone, or `None` where that would fail."""
    if not content.startswith((_PNG, _JPEG)):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as picture:
                return upright_size(picture.height, picture.width, read_orientation(content))
    except Exception:  # Pillow has no common class for damaged headers.
        return None


def _name_format(content):
    if not content:
        return "an empty file"
    for name, place, signature in _OTHERS:
        if content[place : place + len(signature)] == signature:
            return name
    return f"no picture that can be read ({len(content)} bytes)"


def _check(picture, content):
    """Refuses what cannot be a mask, before its pixels are decoded."""
    pictures = getattr(picture, "n_frames", 1)
    if pictures > 1:
        raise DataError(f"the mask has {pictures} pictures in one file; {_RIGHT}")
    if picture.width * picture.height > MAX_PHOTO_PIXELS:
        raise DataError(
            f"the mask has {picture.width} x {picture.height} pixels, at most {MAX_PHOTO_PIXELS:,} are read; {_RIGHT}"
        )
    if content.startswith(_PNG):
        # Pillow compares no check sums of pixels while it decodes: one wrong bit would be another mask.
        with Image.open(io.BytesIO(content), formats=("PNG",)) as again:
            again.verify()


def _read_jpeg(picture):
    values = np.asarray(picture if picture.mode == "L" else picture.convert("RGB"))
    return _largest_channel(values) >= 128, "jpeg_masks"


def _read_png(picture, content):
    values, alpha = _channels(picture, content)
    cut = None if alpha is None else mask_from_alpha(alpha)
    if cut is None:
        cut = (mask_from_indices(values), False) if picture.mode == "P" else mask_from_values(values)
    mask, soft = cut
    return mask, "soft_masks" if soft else None


def _channels(picture, content):
    """Values `(height, width)`, of the largest channel or indices of the palette, and alpha or `None`."""
    depth = content[24]
    if depth == 16:
        # Pillow keeps the high byte alone of sixteen bits of colour: a label of 200 would be ground.
        with tf.device("CPU"):
            pixels = tf.io.decode_png(content, dtype=tf.uint16).numpy()
    else:
        pixels = np.asarray(picture)
        pixels = pixels.astype("uint8") * np.uint8(255) if picture.mode == "1" else pixels
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.shape[-1] in (2, 4):
        return _largest_channel(pixels[..., :-1]), pixels[..., -1]
    transparent = picture.info.get("transparency")
    return _largest_channel(pixels), None if transparent is None else _alpha(pixels, transparent, picture.mode, depth)


def _largest_channel(pixels):
    if pixels.ndim == 2 or pixels.shape[-1] == 1:
        return pixels.reshape(pixels.shape[:2])
    return np.maximum(np.maximum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])


def _alpha(pixels, transparent, mode, depth):
    """Alpha of a picture that has none of its own but names transparent colours, or gives every index one."""
    if mode == "P":
        table = np.full(256, 255, "uint8")
        if isinstance(transparent, bytes):
            table[: len(transparent)] = np.frombuffer(transparent, "uint8")
        else:
            table[transparent] = 0
        return table[pixels[..., 0]]
    # Pixels of two and four bits are spread over 0 to 255, the colour is not.
    scale = 255 // (2**depth - 1) if mode == "L" and depth < 8 else 1
    return np.where(np.all(pixels == np.multiply(transparent, scale), -1), 0, 255).astype("uint8")
