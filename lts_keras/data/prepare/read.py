"""Reads the photos of a plan, each from all its sources."""

import dataclasses
import io

import numpy as np
import tensorflow as tf
from PIL import Image

from lts_keras.data.sources import PhotoError
from lts_keras.data.text import has_words

__all__ = ["REASON_OF", "look_alike", "read_planned"]

_CELLS, _SMALLEST_CELL, _MOST_APART = 32, 8, 32

REASON_OF = {"unreadable_photos": "unreadable photo", "size_mismatches": "size mismatch"}
"""Why the objects of a photo are left out, by the kind of `PhotoError`."""


def read_planned(sources, planned, statistics=None):
    """Reads a photo from all its sources.

    Leaking objects are left out, and expressions without a word that the model could read, as "?!"; an object without
    any other expression is left out too.

    Args:
        sources: open sources of the plan.
        planned: `PlannedPhoto`.
        statistics: `Statistics` that counts what is left out, or `None`.

    Returns:
        `Photo`; its objects are of all sources, in their order. What only left out objects stand for is among its
        `others`.

    Raises:
        PhotoError: the bytes cannot be decoded, or are not of the size that the annotations are for.
    """
    parts = [sources[index].read(key) for index, key in planned.parts]
    first = parts[0]
    place = sources[planned.parts[0][0]].place(planned.parts[0][1])
    _decode(first.image_bytes, place)
    photo = dataclasses.replace(first, photo_id=planned.photo_id)
    everything = [item for part in parts for item in part.objects]
    objects = [_with_words(photo, item, planned, statistics) for item in everything]
    objects = tuple(item for item in objects if item is not None)
    others = [one for part in parts for one in part.others]
    others = _unreferred(photo, objects, others + [(item.category, item.box) for item in everything if _is_one(item)])
    return dataclasses.replace(photo, objects=objects, others=others)


def _is_one(item):
    return item.box is not None and not item.several


def _unreferred(photo, objects, annotated):
    """Class and box of the annotated objects that no object of the record stands for, whichever sources know them.

    What is the same in all sources is the class, and the box to the pixel. Boxes without area inside the photo, which
    nothing can be found by, are left out.
    """
    seen = {(item.category, *_in_pixels(photo, item.box)) for item in objects if _is_one(item)}
    found = {}
    for category, box in annotated:
        x0, y0, x1, y1 = _in_pixels(photo, box)
        if x0 < x1 and y0 < y1 and (category, x0, y0, x1, y1) not in seen:
            found.setdefault((category, x0, y0, x1, y1), (category, box))
    return tuple(found.values())


def _in_pixels(photo, box):
    sides = (photo.width, photo.height, photo.width, photo.height)
    return tuple(min(max(round(side), 0), most) for side, most in zip(box, sides, strict=True))


def look_alike(one, other):
    """Whether two photos of the same size show the same, be one of them compressed anew.

    Args:
        one, other: bytes of a JPEG or PNG.

    Returns:
        bool: both can be decoded, and no colour of any cell (of 8 x 8 pixels, or a 32nd of the sides) differs by more
        than an eighth of its range.
    """
    try:
        cells = [_in_cells(content) for content in (one, other)]
    except Exception:  # Pillow has no common class for damaged pictures.
        return False
    return bool(np.abs(cells[0] - cells[1]).max() <= _MOST_APART)


def _in_cells(content):
    """Mean colours of the stored pixels in cells, 0..255."""
    with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as picture:
        cells = [min(max(side // _SMALLEST_CELL, 1), _CELLS) for side in picture.size]
        picture.draft("RGB", (4 * _CELLS, 4 * _CELLS))  # decodes a JPEG at a part of its size
        return np.asarray(picture.convert("RGB").resize(cells, Image.Resampling.BOX), "float32")


def _with_words(photo, item, planned, statistics):
    """An object with those of its expressions that have words; `None` where it is left out."""
    where = f"{planned.photo_id}: ref {item.ref_id} of {item.dataset}/{item.split}"
    if item.split == planned.without:
        if statistics:
            statistics.leave_out("leak", where)
        return None
    texts = tuple(text for text, kept in zip(item.expressions, has_words(item.expressions), strict=True) if kept)
    if statistics:
        for _ in range(len(item.expressions) - len(texts)):
            statistics.blank(photo, item)
        if not texts:
            statistics.leave_out("no sentence", where)
    return dataclasses.replace(item, expressions=texts) if texts else None


def _decode(content, place):
    """Decodes by the operation that training will use, at an eighth of the size: all that it refuses is found here."""
    try:
        with tf.device("CPU"):
            if content[:2] == b"\xff\xd8":
                tf.io.decode_jpeg(content, channels=3, ratio=8)
            else:
                tf.io.decode_png(content, channels=3)
    except (tf.errors.InvalidArgumentError, tf.errors.UnknownError) as error:
        raise PhotoError("unreadable_photos", f"{place}: the photo is cut or damaged") from error
