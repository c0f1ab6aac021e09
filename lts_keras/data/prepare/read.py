"""Reads the photos of a plan, each from all its sources."""

import dataclasses

import tensorflow as tf

from lts_keras.data.schema import Photo
from lts_keras.data.sources import PhotoError

__all__ = ["read_planned"]


def read_planned(sources, planned, statistics=None):
    """Reads a photo from all its sources; leaking objects and blank expressions are left out.

    Returns:
        `Photo`; its objects are of all sources, in their order.

    Raises:
        PhotoError: the bytes cannot be decoded, or are not of the size that the annotations are for.
    """
    parts = [sources[index].read(key) for index, key in planned.parts]
    first = parts[0]
    place = sources[planned.parts[0][0]].place(planned.parts[0][1])
    _decode(first.image_bytes, place)
    objects = []
    for item in (item for part in parts for item in part.objects if item.split != planned.without):
        texts = tuple(text for text in item.expressions if text.strip())
        for _ in range(len(item.expressions) - len(texts) if statistics else 0):
            statistics.blank(first, item)
        if texts:
            objects.append(dataclasses.replace(item, expressions=texts))
    return Photo(planned.photo_id, first.image_bytes, first.height, first.width, tuple(objects))


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
