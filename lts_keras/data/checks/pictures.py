"""Small pictures for pages: the photo as training sees it, an object's mask laid over it and its box drawn."""

import base64
import io

import numpy as np
from PIL import Image, ImageDraw

from lts_keras.data.input.geometry import decode_image

__all__ = ["draw_object", "read_pixels"]

_SIZE = 360
_MARK = (235, 64, 52)
_BOX = (255, 221, 51)
_FEW = 9
"""Pixels; a smaller mask is drawn two pixels wider, as JPEG washes it out."""


def read_pixels(photo):
    """uint8 array `(height, width, 3)` of a `Photo`, turned as its annotations are."""
    return decode_image(photo.image_bytes, photo.orientation).numpy()


def draw_object(pixels, mask=None, box=None, size=_SIZE):
    """Draws one object of a photo.

    Args:
        pixels: uint8 array `(height, width, 3)`.
        mask: bool array `(height, width)` to tint, or `None`.
        box: `(x0, y0, x1, y1)` in pixels of the photo to draw, or `None`; it may be without area or lie outside.
        size: int, longest side of the picture in pixels.

    Returns:
        `data:` URI of a JPEG.
    """
    photo = Image.fromarray(pixels)
    scale = min(1.0, size / max(photo.size))
    # Shrunk before anything is drawn, so that lines are as thick in every photo.
    sides = tuple(max(1, round(side * scale)) for side in photo.size)
    picture = photo.resize(sides, Image.Resampling.BOX) if scale < 1 else photo
    if mask is not None and mask.any():
        picture = _tint(picture, mask)
    if box is not None:
        _draw_box(ImageDraw.Draw(picture), [side * scale for side in box], picture.size)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _tint(picture, mask):
    """Half of the mark's colour inside, and all of it along the edge, which shows on a photo of the same colour too."""
    small = Image.fromarray(mask.astype("uint8") * 255).resize(picture.size, Image.Resampling.BOX)
    # A mask of a few pixels of a large photo stays to be seen.
    inside = np.asarray(small) > (127 if np.asarray(small).max() > 127 else 0)
    if np.count_nonzero(inside) < _FEW:
        inside = ~_inner(_inner(~inside))
    inner = _inner(inside)
    pixels = np.asarray(picture, "float32").copy()
    pixels[inside] = 0.55 * pixels[inside] + 0.45 * np.array(_MARK, "float32")
    pixels[inside & ~inner] = _MARK
    return Image.fromarray(pixels.round().astype("uint8"))


def _inner(inside):
    """Pixels inside, and their four neighbours too; what lies beyond the edge counts as the edge does."""
    padded = np.pad(inside, 1, "edge")
    return inside & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]


def _draw_box(draw, box, sides):
    """A frame; what lies outside is drawn at the photo's edge, and no box is too small to be seen."""
    limits = [*sides, *sides]
    x0, y0, x1, y1 = (min(max(value, 0), limit - 1) for value, limit in zip(box, limits, strict=True))
    x1, y1 = max(x0, x1), max(y0, y1)
    if min(x1 - x0, y1 - y0) < 8:
        x0, y0, x1, y1 = x0 - 6, y0 - 6, x1 + 6, y1 + 6
    draw.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=(0, 0, 0), width=4)
    draw.rectangle((x0, y0, x1, y1), outline=_BOX, width=2)
