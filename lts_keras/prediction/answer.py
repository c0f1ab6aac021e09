"""From the network's maps to an answer in the photo's own pixels.

Evaluation, prediction and the served graph share this one function, graph operations alone.
"""

import tensorflow as tf

from lts_keras.data.input.geometry import restore_points, restore_probabilities
from lts_keras.data.input.placement import letterbox_box

__all__ = ["restore_answer"]


def restore_answer(mask, prior, height, width, size, threshold, resize="letterbox"):
    """Mask, score, box and point of one expression.

    Args:
        mask: float32 probabilities of shape `(size / 4, size / 4, 1)`.
        prior: float32 probabilities or logits of shape `(size / 8, size / 8, 1)`.
        height, width: integer scalars, the photo's size in pixels.
        size: int, side of the square in pixels.
        threshold: float, probability above which a pixel belongs to the mask.
        resize: how the photo became the square, `"letterbox"` or `"plain"`.

    Returns:
        dict: `mask` bool `(height, width)`; `score` float32 scalar, mean probability inside the mask, 0 for an empty
        one; `box` int32 `(4,)`, x0, y0, x1, y1 around the mask, the far side exclusive, zeros for an empty one;
        `point` int32 `(2,)`, x, y of the prior's maximum among the cells whose centre shows the photo.
    """
    probabilities = restore_probabilities(mask, height, width, size, resize)[..., 0]
    inside = probabilities > threshold
    count = tf.reduce_sum(tf.cast(inside, tf.float32))
    total = tf.reduce_sum(tf.where(inside, probabilities, 0.0))
    return {
        "mask": inside,
        "score": tf.math.divide_no_nan(total, count),
        "box": _bounds(inside),
        "point": _peak(prior, height, width, size, resize),
    }


def _bounds(inside):
    sides = []
    for axis in (0, 1):  # columns, then rows
        filled = tf.where(tf.reduce_any(inside, axis))[:, 0]
        sides.append(
            tf.cond(tf.size(filled) > 0, lambda f=filled: tf.stack([f[0], f[-1] + 1]), lambda: tf.zeros([2], tf.int64))
        )
    (x0, x1), (y0, y1) = (tf.unstack(tf.cast(side, tf.int32), num=2) for side in sides)
    return tf.stack([x0, y0, x1, y1])


def _peak(prior, height, width, size, resize):
    cells = prior.shape[0] or tf.shape(prior)[0]
    stride = size // cells
    top, left, inner_height, inner_width = letterbox_box(height, width, size, resize)

    def shown(corner, inner):
        # A photo thinner than a cell may cover no centre; the cell around its middle then stands for it.
        centers = tf.range(cells) * stride + stride // 2
        covered = (centers >= corner) & (centers < corner + inner)
        middle = tf.equal(tf.range(cells), (corner + inner // 2) // stride)
        return tf.where(tf.reduce_any(covered), covered, middle)

    allowed = shown(top, inner_height)[:, None] & shown(left, inner_width)[None, :]
    best = tf.argmax(tf.reshape(tf.where(allowed, prior[..., 0], prior.dtype.min), [-1]), output_type=tf.int32)
    return restore_points(tf.stack([best % cells, best // cells]), height, width, size, stride, resize)
