"""Where a photo lies in the square that the network sees.

A `Placement` says which part of the photo (all, but for scale jitter) fills which part of the square. Picture, mask,
boxes and points all go through the same one, so they agree to a fraction of a pixel. Pixel centres lie at +0.5: column
x of a photo covers x .. x + 1.
"""

import typing

import tensorflow as tf

__all__ = ["RESIZES", "Placement", "crop", "jitter_placement", "letterbox_box", "pad", "place", "to_square"]

RESIZES = ("letterbox", "plain")
"""How a photo becomes a square: with grey beside it, its shape kept; or stretched, as the paper says literally."""


class Placement(typing.NamedTuple):
    """Which part of a photo fills which part of the square; int32 scalars, all in pixels.

    `crop_*` is the part of the photo, `top`, `left`, `height` and `width` the part of the square.
    """

    crop_top: tf.Tensor
    crop_left: tf.Tensor
    crop_height: tf.Tensor
    crop_width: tf.Tensor
    top: tf.Tensor
    left: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor


def letterbox_box(height, width, size, resize="letterbox"):
    """Where a photo lies in the square.

    Args:
        height, width: integers or integer scalars, the photo's size.
        size: side of the square.
        resize: `"letterbox"`: the longer side fills the square, the other is centred; or `"plain"`: both fill it.

    Returns:
        `(top, left, inner_height, inner_width)`, int32 scalars. Halves are rounded to even and no side gets below 1.

    Raises:
        ValueError: for another `resize`.
    """
    return _box(height, width, size, resize)


def _box(height, width, size, resize, factor=1.0):
    """As `letterbox_box` with the photo `factor` times as large."""
    if resize not in RESIZES:
        raise ValueError(f"image_resize must be one of {', '.join(RESIZES)}. Received: {resize!r}")
    sides = tf.cast(tf.stack([height, width]), tf.float64)
    longest = tf.reduce_max(sides) if resize == "letterbox" else sides
    scale = tf.cast(size, tf.float64) / longest * tf.cast(factor, tf.float64)
    inner = tf.maximum(tf.cast(tf.round(sides * scale), tf.int32), 1)
    corner = (size - inner) // 2
    return corner[0], corner[1], inner[0], inner[1]


def place(height, width, size, resize="letterbox"):
    """Returns the `Placement` of a whole photo; arguments as `letterbox_box`."""
    top, left, inner_height, inner_width = letterbox_box(height, width, size, resize)
    zero = tf.zeros([], tf.int32)
    return Placement(
        zero, zero, tf.cast(height, tf.int32), tf.cast(width, tf.int32), top, left, inner_height, inner_width
    )


def jitter_placement(height, width, size, factor, where, keep=None, resize="letterbox"):
    """Returns the `Placement` of a photo that is `factor` times as large as `place` has it.

    Args:
        height, width: integer scalars, the photo's size.
        size: side of the square.
        factor: float scalar above 0. Above 1 a part of the photo fills the square, below 1 grey is around it.
        where: float tensor of shape `(2,)` in 0..1: which part (rows, columns), or where in the square.
        keep: box `(4,)` x0, y0, x1, y1 in pixels of the photo that must stay visible: a sentence about an object that
            was cut away teaches nothing. The factor is lowered, at most to 1, and the part chosen for it.
        resize: as for `letterbox_box`.
    """
    sides = tf.cast(tf.stack([height, width]), tf.int32)
    first, last = tf.zeros(2, tf.int32), tf.zeros(2, tf.int32)
    if keep is not None:
        keep = tf.reverse(tf.reshape(tf.cast(keep, tf.float32), [2, 2]), [1])
        first = tf.clip_by_value(tf.cast(tf.floor(keep[0]), tf.int32), 0, sides)
        last = tf.clip_by_value(tf.cast(tf.math.ceil(keep[1]), tf.int32), first, sides)
        # A side that fills the square at factor 1 says how many pixels of the photo the square holds along it: with a
        # letterbox the longer one, for both.
        filling, kept = sides, last - first
        if resize == "letterbox":
            filling, kept = tf.reduce_max(filling), tf.reduce_max(kept)
        room = tf.reduce_min(filling / tf.maximum(kept, 1))
        factor = tf.minimum(tf.cast(factor, tf.float64), room)
    _, _, inner_height, inner_width = _box(height, width, size, resize, factor)
    inner = tf.stack([inner_height, inner_width])
    shown = tf.minimum(inner, size)
    # The crop is in whole pixels of the photo; the sides in the square follow it.
    part = tf.cast(tf.round(tf.cast(sides, tf.float64) * (shown / inner)), tf.int32)
    part = tf.clip_by_value(part, tf.maximum(last - first, 1), sides)

    def spread(low, high):
        return low + tf.cast(tf.round(tf.cast(high - low, tf.float32) * where), tf.int32)

    if keep is None:
        crop_corner = spread(0, sides - part)
    else:
        crop_corner = spread(tf.maximum(last - part, 0), tf.minimum(first, sides - part))
    corner = spread(0, size - shown)
    return Placement(crop_corner[0], crop_corner[1], part[0], part[1], corner[0], corner[1], shown[0], shown[1])


def crop(image, placement):
    """The part of the photo that the square shows; `image` is `(height, width, ...)`."""
    top, left = placement.crop_top, placement.crop_left
    return image[top : top + placement.crop_height, left : left + placement.crop_width]


def pad(inner, corner, size, value):
    """Puts what the square shows of a photo, `(height, width, channels)`, into it, with `value` around.

    `corner` is int32 `(2,)`: top and left.
    """
    after = size - corner - tf.shape(inner)[:2]
    padding = tf.concat([tf.stack([corner, after], 1), tf.zeros([1, 2], tf.int32)], 0)
    padded = tf.pad(inner, padding, constant_values=tf.cast(value, inner.dtype))
    return tf.ensure_shape(padded, [size, size, inner.shape[-1]])


def to_square(boxes, placement):
    """Maps boxes `(..., 4)` x0, y0, x1, y1 of the photo to pixels of the square, float32; they may reach out of it."""
    crop_corner = tf.cast(tf.stack([placement.crop_left, placement.crop_top] * 2), tf.float32)
    part = tf.cast(tf.stack([placement.crop_width, placement.crop_height] * 2), tf.float32)
    corner = tf.cast(tf.stack([placement.left, placement.top] * 2), tf.float32)
    inner = tf.cast(tf.stack([placement.width, placement.height] * 2), tf.float32)
    return (tf.cast(boxes, tf.float32) - crop_corner) * (inner / part) + corner
