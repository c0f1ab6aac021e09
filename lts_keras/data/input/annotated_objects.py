"""All annotated objects of a photo, each once, and how many of them could be taken for another. Graph operations."""

import typing

import tensorflow as tf

__all__ = ["AnnotatedObjects", "annotated_objects"]


class AnnotatedObjects(typing.NamedTuple):
    """The objects of one photo, whether somebody refers to them or not, and the rivals of those referred to."""

    boxes: tf.Tensor
    """float32 `(R, 4)`, x0, y0, x1, y1 in pixels; each object once."""
    categories: tf.Tensor
    """string `(R,)`."""
    rivals: tf.Tensor
    """int32 `(N,)`, of each referred object of the record: other objects of its class.

    -1 where it has no class, is no object, or stands for several.
    """


def annotated_objects(record):
    """Finds the distinct objects of a record.

    Several refs, of several data sets too, may stand for one object: the same class, and a box that is the same to the
    pixel. An expression without a target stands for none, and one for several objects for no object of its own.

    Args:
        record: dict of `parse_record`.

    Returns:
        `AnnotatedObjects`.
    """
    boxes = tf.concat([record["box"], record["other_box"]], 0)
    categories = tf.concat([record["category"], record["other_category"]], 0)
    names, all_numbers = tf.unique(categories)
    number = all_numbers
    single = tf.concat([~record["several"], tf.ones_like(record["other_category"], tf.bool)], 0)
    present = single & tf.reduce_any(boxes != 0, axis=1)
    keys = tf.concat([number[:, None], tf.cast(tf.round(boxes), tf.int32)], 1)
    _, first = _distinct(tf.boolean_mask(keys, present))
    boxes, number = (tf.gather(tf.boolean_mask(value, present), first) for value in (boxes, number))
    count = tf.math.bincount(number, minlength=tf.size(names))
    own = tf.size(record["category"])
    has_class = (record["category"] != "") & present[:own]
    rivals = tf.where(has_class, tf.gather(count, all_numbers[:own]) - 1, -1)
    return AnnotatedObjects(boxes, tf.gather(names, number), rivals)


def _distinct(keys):
    """Distinct rows of an int32 matrix, and the index of the first of each."""
    distinct, index = tf.raw_ops.UniqueV2(x=keys, axis=[0])
    count = tf.shape(distinct)[0]
    first = tf.math.unsorted_segment_min(tf.range(tf.size(index)), index, count)
    return distinct, first
