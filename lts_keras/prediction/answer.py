"""From the network's maps to answers in the photo's own pixels.

Evaluation, prediction and the served graph share this one function, graph operations alone.
"""

import tensorflow as tf

from lts_keras.data.input.geometry import restore_points, restore_probabilities
from lts_keras.data.input.placement import letterbox_box
from lts_keras.prediction.presence import LEAST, Presence

__all__ = ["restore_answer", "restore_answers", "shown_cells"]


def restore_answers(mask, prior, height, width, size, threshold, resize="letterbox", presence=None):
    """Mask, score, presence, box and point of N expressions on photos of one size.

    Args:
        mask: float32 probabilities of shape `(N, size / 4, size / 4, 1)`.
        prior: float32 probabilities of shape `(N, size / 8, size / 8, 1)`.
        height, width: integer scalars, the photos' size in pixels.
        size: int, side of the square in pixels.
        threshold: float, probability above which a pixel belongs to the mask.
        resize: how the photo became the square, `"letterbox"` or `"plain"`.
        presence: `Presence`; one that is not calibrated if `None`.

    Returns:
        dict: `probabilities` float32 `(N, height, width)`; `mask` bool `(N, height, width)`, where they are above the
        threshold, all false where `presence` says that nothing is there; `score` float32 `(N,)`, mean probability
        inside the mask, 0 for an empty one; `presence` float32 `(N,)`, and `highest` float32 `(N, 2)`, the
        probabilities of mask and prior that it is made from; `box` int32 `(N, 4)`, x0, y0, x1, y1 around the mask, the
        far side exclusive, zeros for an empty one; `point` int32 `(N, 2)`, x, y of the prior's maximum among the cells
        whose centre shows the photo.
    """
    presence = presence or Presence()
    probabilities = restore_probabilities(mask, height, width, size, resize)[..., 0]
    inside = probabilities > threshold
    highest_prior, point = _peak(prior, height, width, size, resize)
    highest_mask = tf.reduce_max(probabilities, axis=[1, 2])
    sure = _sure(presence, highest_mask, highest_prior)
    if presence.threshold is not None:
        inside &= (sure >= presence.threshold)[:, None, None]
    count = tf.reduce_sum(tf.cast(inside, tf.float32), axis=[1, 2])
    total = tf.reduce_sum(tf.where(inside, probabilities, 0.0), axis=[1, 2])
    return {
        "probabilities": probabilities,
        "mask": inside,
        "score": tf.math.divide_no_nan(total, count),
        "presence": sure,
        "highest": tf.stack([highest_mask, highest_prior], axis=1),
        "box": _bounds(inside),
        "point": point,
    }


def restore_answer(mask, prior, height, width, size, threshold, resize="letterbox", presence=None):
    """As `restore_answers` for one expression, all tensors without the first axis."""
    answers = restore_answers(mask[None], prior[None], height, width, size, threshold, resize, presence)
    return {name: value[0] for name, value in answers.items()}


def _sure(presence, mask, prior):
    """As a call of `Presence`."""
    logits = (presence.mask_weight * _logit(mask), presence.prior_weight * _logit(prior))
    return tf.sigmoid(presence.bias + logits[0] + logits[1])


def _logit(probability):
    kept = tf.clip_by_value(probability, LEAST, 1 - LEAST)
    return tf.math.log(kept) - tf.math.log1p(-kept)


def _bounds(inside):
    """The box around each mask; zeros around an empty one."""
    sides = []
    for axis in (1, 2):  # columns, then rows
        filled = tf.reduce_any(inside, axis)
        places = tf.range(tf.shape(filled)[1])
        last = tf.reduce_max(tf.where(filled, places + 1, 0), axis=1)
        first = tf.reduce_min(tf.where(filled, places, last[:, None]), axis=1)
        sides.append((first, last))
    (x0, x1), (y0, y1) = sides
    return tf.stack([x0, y0, x1, y1], axis=1)


def _peak(prior, height, width, size, resize):
    """The prior's largest value among the cells that show the photo, and its place in the photo."""
    cells = prior.shape[1] or tf.shape(prior)[1]
    allowed = shown_cells(cells, height, width, size, resize)
    flat = tf.reshape(tf.where(allowed, prior[..., 0], prior.dtype.min), [tf.shape(prior)[0], -1])
    best = tf.argmax(flat, axis=1, output_type=tf.int32)
    places = tf.stack([best % cells, best // cells], axis=1)
    return tf.reduce_max(flat, axis=1), restore_points(places, height, width, size, size // cells, resize)


def shown_cells(cells, height, width, size, resize="letterbox"):
    """Which cells of the square show the photo, and so may be its point: bool `(cells, cells)`.

    Args:
        cells: int, cells along each side.
        height, width, size, resize: as for `restore_answers`.
    """
    stride = size // cells
    top, left, inner_height, inner_width = letterbox_box(height, width, size, resize)

    def shown(corner, inner):
        # A photo thinner than a cell may cover no centre; the cell around its middle then stands for it.
        centers = tf.range(cells) * stride + stride // 2
        covered = (centers >= corner) & (centers < corner + inner)
        middle = tf.equal(tf.range(cells), (corner + inner // 2) // stride)
        return tf.where(tf.reduce_any(covered), covered, middle)

    return shown(top, inner_height)[:, None] & shown(left, inner_width)[None, :]
