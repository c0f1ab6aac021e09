"""A photo on its way into the network and the network's maps on their way back to the photo. Graph operations alone.

The served graph and `Predictor` both go through these functions, so that their answers are equal.
"""

import tensorflow as tf

from lts_keras.data.input.geometry import decode_image, letterbox_image, restore_probabilities
from lts_keras.prediction.answer import restore_answer

__all__ = ["DESCRIPTION", "check_photo", "describe", "letterbox_photo", "mask_png", "prepare_photo", "prior_png"]

DESCRIPTION = {
    "score": tf.TensorSpec((), tf.float32),
    "presence": tf.TensorSpec((), tf.float32),
    "box": tf.TensorSpec((4,), tf.int32),
    "point": tf.TensorSpec((2,), tf.int32),
    "size": tf.TensorSpec((2,), tf.int32),
}
"""What `describe` gives for one expression: names, dtypes and shapes of the served outputs beside the mask."""

_SHORTEST_HEADER = 33  # bytes: PNG's signature and first chunk; no smaller file is a photo
_JPEG_START = b"\xff\xd8\xff"
_PNG_START = b"\x89PNG\r\n\x1a\n"


def check_photo(image_bytes, max_pixels):
    """Looks at a photo's header, before anything is decoded.

    Args:
        image_bytes: string scalar.
        max_pixels: int. Larger photos are refused.

    Returns:
        `image_bytes`, to be used further, so that the checks run first.

    Raises:
        tf.errors.InvalidArgumentError: when run, for bytes that are neither JPEG nor PNG, or for a photo that has
            no pixels or more than `max_pixels`.
    """
    length = tf.strings.length(image_bytes)
    long_enough = length >= _SHORTEST_HEADER
    # A short string would fail in `substr` with a message about positions.
    header = tf.where(long_enough, image_bytes, tf.constant(b"\0" * _SHORTEST_HEADER))
    is_jpeg = tf.strings.substr(header, 0, 3) == _JPEG_START
    is_png = tf.strings.substr(header, 0, 8) == _PNG_START
    known = tf.debugging.Assert(is_jpeg | is_png, ["image_bytes holds no JPEG or PNG photo; length in bytes:", length])
    with tf.control_dependencies([known]):
        sides = tf.cond(is_jpeg, lambda: tf.image.extract_jpeg_shape(image_bytes)[:2], lambda: _png_sides(header))
    pixels = tf.reduce_prod(tf.cast(sides, tf.int64))
    limits = [f"the photo must have 1 to {max_pixels} pixels; its height and width:", sides]
    fits = tf.debugging.Assert(tf.reduce_all(sides > 0) & (pixels <= max_pixels), limits)
    with tf.control_dependencies([fits]):
        return tf.identity(image_bytes)


def _png_sides(header):
    """Height and width from the first chunk, int32: there the width comes first, with the high byte in front."""
    sides = tf.io.decode_raw(tf.strings.substr(header, 16, 8), tf.int32, little_endian=False)
    return tf.reshape(sides, [2])[::-1]


def prepare_photo(image_bytes, image_size, max_pixels, resize="letterbox"):
    """Checks, decodes, turns upright and letterboxes a photo.

    Args:
        image_bytes: string scalar, a JPEG or PNG file.
        image_size: int. Side of the square in pixels.
        max_pixels: int. Larger photos are refused.
        resize: `"letterbox"` or `"plain"`, as the model was trained.

    Returns:
        `(image, size)`: float32 `(image_size, image_size, 3)` in 0..1, and int32 `(2,)`, the height and width of
        the photo turned upright by its own EXIF orientation.
    """
    return letterbox_photo(decode_image(check_photo(image_bytes, max_pixels)), image_size, resize)


def letterbox_photo(photo, image_size, resize="letterbox"):
    """As `prepare_photo`, from the pixels: uint8 `(height, width, 3)`."""
    return letterbox_image(photo, image_size, resize), tf.shape(photo)[:2]


def describe(mask, prior, size, image_size, threshold, resize="letterbox", presence=None):
    """What is told about one expression besides its mask, in pixels of the original photo.

    Args:
        mask: float32 `(image_size / 4, image_size / 4, 1)`, probabilities.
        prior: float32 `(image_size / 8, image_size / 8, 1)`, probabilities.
        size: int32 `(2,)`, the photo's height and width.
        image_size: int. Side of the square in pixels.
        threshold: float. Probability above which a pixel belongs to the mask.
        resize: as for `prepare_photo`.
        presence: `Presence`; one that is not calibrated if `None`.

    Returns:
        dict of the tensors of `DESCRIPTION`: `score`, the mean probability inside the mask, 0 for an empty one;
        `presence`, how surely something is there, see `Presence`; `box`, x0, y0, x1, y1 of the mask, exclusive at the
        far side, zeros for an empty one; `point`, x, y of the prior's maximum; `size` as given.
    """
    found = restore_answer(mask, prior, size[0], size[1], image_size, threshold, resize, presence) | {"size": size}
    return {name: found[name] for name in DESCRIPTION}


def mask_png(mask, sure, size, image_size, threshold, resize="letterbox", presence=None):
    """The mask of one expression as a picture, from the network's map alone.

    Apart from `describe`, so that whoever asks for a score does not wait for a PNG. What both compute, the map at the
    photo's size, is an eighth of the time of either.

    Args:
        sure: float32 scalar, the `presence` that `describe` gave.
        mask, size, image_size, threshold, resize, presence: as for `describe`.

    Returns:
        String scalar, an 8-bit grey PNG of 0 and 255 at the photo's size (TensorFlow writes no 1-bit PNG, and
        compressed it would be little smaller).
    """
    inside = restore_probabilities(mask, size[0], size[1], image_size, resize) > threshold
    if presence is not None and presence.threshold is not None:
        inside &= sure >= presence.threshold
    return tf.io.encode_png(tf.cast(inside, tf.uint8) * 255)


def prior_png(prior, size, image_size, resize="letterbox"):
    """The position prior of one expression as a small picture of the whole photo, for people to look at.

    Args:
        prior: float32 `(image_size / 8, image_size / 8, 1)`, probabilities.
        size: int32 `(2,)`, the photo's height and width.
        image_size, resize: as for `prepare_photo`.

    Returns:
        String scalar, an 8-bit grey PNG, 255 for a probability of 1; its longer side has `image_size / 4` pixels, its
        shape is the photo's as far as whole pixels allow.
    """
    longest = tf.reduce_max(size)
    small = tf.maximum(1, (size * (image_size // 4) + longest // 2) // longest)
    probabilities = restore_probabilities(prior, small[0], small[1], image_size, resize)
    return tf.io.encode_png(tf.cast(tf.round(tf.clip_by_value(probabilities, 0.0, 1.0) * 255), tf.uint8))
