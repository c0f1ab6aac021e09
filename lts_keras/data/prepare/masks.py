"""Masks of COCO's annotations, exactly as the REFER toolkit makes them, and their PNG form in records.

Masks that users draw are read by `lts_keras.data.prepare.mask_pictures`.
"""

import io

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from lts_keras.data.schema import DataError

__all__ = ["decode_mask", "encode_mask", "rasterize", "tight_box"]

_FAR = 4
"""Corners further outside than so many photo sides are an error, and would make the rasterizer take all memory."""


def rasterize(segmentation, height, width):
    """Makes the mask of one annotation; several parts are merged.

    Args:
        segmentation: a list of polygons `[x0, y0, x1, y1, ...]`, or a run-length dict `{"size": [h, w], "counts": ...}`
            with `counts` a list (uncompressed, as COCO's crowds) or text (compressed), or a list of such dicts.
        height, width: size of the photo in pixels.

    Returns:
        Bool array `(height, width)`. Parts of fewer than three corners cover nothing.

    Raises:
        DataError: the segmentation is malformed, or made for a photo of another size.
    """
    parts = [segmentation] if isinstance(segmentation, dict) else segmentation
    if not isinstance(parts, list | tuple):
        raise DataError(f"a segmentation is a list of polygons or a run-length dict. Received: {_short(segmentation)}")
    runs = [_part(part, height, width) for part in parts]
    runs = [run for run in runs if run is not None]
    if not runs:
        return np.zeros((height, width), bool)
    try:
        merged = coco_mask.merge(runs) if len(runs) > 1 else runs[0]
        return np.ascontiguousarray(coco_mask.decode(merged), bool)
    except (ValueError, TypeError, MemoryError) as error:
        raise DataError(f"a run-length mask cannot be decoded: {' '.join(str(error).split())}") from error


def _part(part, height, width):
    """Compressed run-length form of one polygon or run-length dict; `None` for fewer than three corners."""
    if isinstance(part, dict):
        return _runs(part, height, width)
    try:
        # A Boolean would pass for a number.
        is_list = isinstance(part, list | tuple)
        corners = np.asarray(None if is_list and bool in map(type, part) else part, "float64").ravel()
    except (ValueError, TypeError, OverflowError):
        corners = np.array([np.nan])
    if len(corners) % 2 or not np.all(np.isfinite(corners)):
        raise DataError(f"a polygon is a list of numbers x0, y0, x1, y1 ... Received: {_short(part)}")
    if len(corners) < 6:
        return None
    if np.abs(corners).max() > (_FAR + 1) * max(height, width):
        raise DataError(f"a polygon lies far outside its {width} x {height} photo. Received: {_short(part)}")
    return coco_mask.frPyObjects([corners.tolist()], height, width)[0]


def _runs(runs, height, width):
    size, counts = runs.get("size"), runs.get("counts")
    if not isinstance(counts, list | str | bytes) or not isinstance(size, list | tuple) or len(size) != 2:
        raise DataError(f"a run-length dict has `size: [height, width]` and `counts`. Received: {_short(runs)}")
    if list(size) != [height, width]:
        sides = f"{_short(size[1])} x {_short(size[0])}"
        raise DataError(f"a run-length mask of {sides} stands in a {width} x {height} photo")
    if isinstance(counts, list):
        # 48.0 is a whole number, as some writers of JSON have it.
        if float in map(type, counts):
            counts = [int(count) if type(count) is float and count.is_integer() else count for count in counts]
        if not all(type(count) is int and count >= 0 for count in counts) or sum(counts) != height * width:
            raise DataError(f"run lengths must add up to the {height * width} pixels of the photo")
        return coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    # What UTF-8 cannot hold is none of its characters either.
    counts = counts.encode("utf-8", "surrogatepass") if isinstance(counts, str) else counts
    _check_compressed(counts, height * width)
    return {"size": [height, width], "counts": counts}


def _check_compressed(counts, num_pixels):
    """Refuses compressed runs that do not cover the photo: the decoder itself does not look at every bound."""
    values = np.frombuffer(counts, "uint8").astype("int64") - 48
    ends = np.flatnonzero((values & 32) == 0)
    broken = DataError("a compressed run-length mask is damaged or made for another size")
    if not len(values) or values.min() < 0 or values.max() > 63 or not len(ends) or ends[-1] != len(values) - 1:
        raise broken
    lengths, start = [], 0
    for end in ends.tolist():
        value = 0
        for place, digit in enumerate(values[start : end + 1].tolist()):
            value |= (digit & 31) << (5 * place)
        if values[end] & 16:
            value -= 1 << (5 * (end - start + 1))
        # From the third run on, COCO stores the difference to the run before the last.
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
        if lengths[-1] < 0 or lengths[-1] > num_pixels:
            raise broken
        start = end + 1
    if sum(lengths) != num_pixels:
        raise broken


def tight_box(mask):
    """Returns `(x0, y0, x1, y1)` around the true pixels, exclusive at the far side, or `None` for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def encode_mask(mask):
    """Returns a bool array `(height, width)` as PNG of one bit a pixel; TensorFlow reads it back as 0 and 255."""
    buffer = io.BytesIO()
    # Level 1: masks are long runs, higher levels cost more time than they save bytes.
    Image.fromarray(np.ascontiguousarray(mask, bool)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def decode_mask(png):
    """Returns the bool array `(height, width)` of `encode_mask`.

    Raises:
        DataError: the bytes are no picture.
    """
    try:
        with Image.open(io.BytesIO(png)) as picture:
            return np.asarray(picture.convert("L")) > 0
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"the mask is not a readable picture: {error}") from error


def _short(value):
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
