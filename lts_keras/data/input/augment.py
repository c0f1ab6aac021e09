"""Augmentation on the fly: mirrored photos with mirrored words, colour and scale jitter. Graph operations alone.

Whatever moves pixels moves masks and boxes with them: scale jitter is a `Placement` that all of them go through, and a
flip turns the whole square round, the grey included. Nothing here holds state: all numbers come from one seed.
"""

import typing

import tensorflow as tf

from lts_keras.data.input.mirror import swap_left_right
from lts_keras.data.input.placement import jitter_placement, place

__all__ = [
    "Draws",
    "draw",
    "flip_square",
    "jitter_color",
    "jittered_placement",
    "mirrored_token_ids",
    "swap_left_right",
]

_LUMA = (0.299, 0.587, 0.114)


class Draws(typing.NamedTuple):
    """Random numbers for one photo and its `n` samples."""

    flip: tf.Tensor
    """bool `(n,)`: turn the sample round, if its words can be."""
    color: tf.Tensor
    """float32 `(n, 3)`: factors of brightness, contrast and saturation."""
    factor: tf.Tensor
    """float32 scalar: the photo's size against the letterbox."""
    where: tf.Tensor
    """float32 `(2,)` in 0..1: where the photo lies, see `jitter_placement`."""


def draw(seed, count, augment):
    """Draws the numbers for `count` samples of one photo.

    Args:
        seed: int64 tensor of shape `(2,)`. The same seed gives the same numbers.
        count: int scalar.
        augment: `AugmentConfig`.

    Returns:
        `Draws`.
    """
    numbers = tf.random.stateless_uniform([count, 4], seed)
    scale = tf.random.stateless_uniform([3], seed + tf.constant([0, 1], tf.int64))
    return Draws(
        flip=numbers[:, 0] < augment.flip,
        color=1.0 + augment.color * (2.0 * numbers[:, 1:] - 1.0),
        factor=1.0 + augment.scale * (2.0 * scale[0] - 1.0),
        where=scale[1:],
    )


def jittered_placement(height, width, size, boxes, draws, augment, resize="letterbox"):
    """Returns the `Placement` of a photo: that of `place` without scale jitter.

    `boxes`, float32 `(n, 4)`, are those of the objects that the samples refer to; they stay visible.
    """
    if not augment.scale:
        return place(height, width, size, resize)
    # An expression without target has a box of zeros. Without any target all of the photo stays.
    boxes = tf.boolean_mask(boxes, boxes[:, 2] > boxes[:, 0])
    whole = tf.cast(tf.stack([0, 0, width, height]), tf.float32)
    keep = tf.cond(
        tf.size(boxes) > 0,
        lambda: tf.concat([tf.reduce_min(boxes[:, :2], 0), tf.reduce_max(boxes[:, 2:], 0)], 0),
        lambda: whole,
    )
    return jitter_placement(height, width, size, draws.factor, draws.where, keep, resize)


def mirrored_token_ids(tokenizer, expressions):
    """Token ids for the mirrored photo.

    Args:
        tokenizer: `Tokenizer`.
        expressions: string tensor of shape `(n,)`.

    Returns:
        `(token_ids, mirrored, can_flip)`: int32 `(n, T)` twice, bool `(n,)`. A flip that would make a known word
        unknown ("lefty" was seen in training, "righty" was not) is refused too.
    """
    swapped, can_flip = swap_left_right(expressions)
    token_ids, mirrored = tokenizer(expressions), tokenizer(swapped)

    def num_unknown(ids):
        return tf.reduce_sum(tf.cast(tf.equal(ids, tokenizer.unknown), tf.int32), -1)

    return token_ids, mirrored, can_flip & (num_unknown(mirrored) <= num_unknown(token_ids))


def flip_square(square, flipped):
    """Turns `(..., size, size, channels)` left to right where `flipped` is true.

    Args:
        square: tensor of rank 3, or of rank 4 with one flag for each item.
        flipped: bool scalar, or bool `(n,)` for rank 4.
    """
    if flipped.shape.rank:
        turned = tf.reverse(square, [2])
        return tf.where(flipped[:, None, None, None], turned, square)
    return tf.cond(flipped, lambda: tf.reverse(square, [square.shape.rank - 2]), lambda: square)


def jitter_color(image, factors):
    """Changes brightness, contrast (around the photo's mean grey) and saturation, in this order.

    Args:
        image: float32 `(height, width, 3)` in 0..1, without the grey of the letterbox.
        factors: float32 `(3,)`; ones change nothing.

    Returns:
        float32 tensor of the same shape, clipped to 0..1.
    """
    brightness, contrast, saturation = tf.unstack(factors)
    luma = tf.tensordot(image, tf.constant(_LUMA), 1)[..., None]
    # One pass over the colours: all three steps are affine in the pixel and its grey.
    gain = brightness * contrast
    offset = brightness * (1.0 - contrast) * tf.reduce_mean(luma)
    return tf.clip_by_value(gain * (saturation * image + (1.0 - saturation) * luma) + offset, 0.0, 1.0)
