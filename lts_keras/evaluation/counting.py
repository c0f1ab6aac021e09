"""Counts on the pixels of answers and truths at the photo's own size: one graph for many expressions."""

import tensorflow as tf

from lts_keras.evaluation.facts import SWEEP
from lts_keras.prediction.answer import restore_answers

__all__ = ["count_answers", "decode_truths", "rows_at_once"]

_STEP = float(SWEEP[1] - SWEEP[0])
_BINS = len(SWEEP) + 1
_CHUNK_BYTES = 128 * 2**20
_BYTES_OF_A_PIXEL = 24
"""Of an expression: probability, its bin, masks and what the graph holds between them."""


def rows_at_once(height, width):
    """Expressions whose pixels fit 128 MiB together; at least one, however large the photo."""
    return max(1, _CHUNK_BYTES // (_BYTES_OF_A_PIXEL * height * width))


def decode_truths(pngs, height, width):
    """Decodes masks of photos of one size.

    Args:
        pngs: string `(M,)`; an empty one, of an object with a box alone, gives an empty mask.
        height, width: integer scalars.

    Returns:
        bool `(M, height, width)`.
    """

    def decode(png):
        return tf.cond(
            tf.strings.length(png) > 0,
            lambda: tf.io.decode_png(png, 1)[..., 0] > 0,
            lambda: tf.zeros((height, width), tf.bool),
        )

    return tf.map_fn(decode, pngs, fn_output_signature=tf.TensorSpec((None, None), tf.bool), parallel_iterations=2)


def count_answers(mask, prior, truth, size, image_size, threshold, resize, presence):
    """Answers of N expressions on photos of one size, and what they have in common with the truth.

    Args:
        mask: float32 probabilities `(N, image_size / 4, image_size / 4, 1)`.
        prior: float32 probabilities `(N, image_size / 8, image_size / 8, 1)`.
        truth: bool `(N, height, width)`.
        size: int32 `(2,)`, height and width.
        image_size, threshold, resize, presence: as for `restore_answers`.

    Returns:
        dict: `mask` bool `(N, height, width)`, `score`, `presence`, `box`, `point` of `restore_answers`;
        `intersection`, `union`, `truth_pixels` int64 `(N,)`; `hit` bool `(N,)`, whether the point lies in the truth;
        `sweep` int64 `(N, 2, thresholds)`, intersection and union at each threshold of `SWEEP`, whatever `presence`.
    """
    answers = restore_answers(mask, prior, size[0], size[1], image_size, threshold, resize, presence)
    probabilities, inside = answers.pop("probabilities"), answers["mask"]
    count = tf.shape(inside)[0]
    truth_pixels = _count(truth)
    points = tf.concat([tf.range(count)[:, None], answers["point"][:, ::-1]], axis=1)
    return answers | {
        "intersection": _count(inside & truth),
        "union": _count(inside | truth),
        "truth_pixels": truth_pixels,
        "hit": tf.gather_nd(truth, points),
        "sweep": _sweep(probabilities, truth, truth_pixels),
    }


def _count(mask):
    return tf.math.count_nonzero(mask, axis=[1, 2], dtype=tf.int64)


def _sweep(probabilities, truth, truth_pixels):
    """Intersections and unions at all thresholds from one histogram of the probabilities, inside and outside."""
    # Bin b holds the probabilities in (threshold b - 1, threshold b]: those of bins above b are above threshold b.
    bins = tf.cast(tf.math.ceil(probabilities / _STEP), tf.int32) - 1
    bins = tf.clip_by_value(bins, 0, _BINS - 1) * 2 + tf.cast(truth, tf.int32)
    rows = tf.shape(probabilities)[0]
    histogram = tf.math.bincount(tf.reshape(bins, [rows, -1]), minlength=2 * _BINS, maxlength=2 * _BINS, axis=-1)
    histogram = tf.cast(tf.reshape(histogram, [rows, _BINS, 2]), tf.int64)
    above = tf.cumsum(histogram, axis=1, exclusive=True, reverse=True)[:, :-1]
    intersection = above[..., 1]
    return tf.stack([intersection, above[..., 0] + truth_pixels[:, None]], axis=1)
