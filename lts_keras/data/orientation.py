"""The EXIF orientation of a photo: read from its bytes, and applied to its pixels. Graph operations alone.

Phones store a photo as the sensor saw it and write beside it how it is to be turned. Browsers and labelling tools show
the turned photo, so annotations lie in that frame. Training, evaluation and the served graph share these functions.

The orientation is read from where cameras write it: tag 0x0112, of type SHORT or LONG, in the first directory of a
JPEG's APP1 segment "Exif" before the scan, or of a PNG's eXIf chunk before its pixels. Not read, as browsers do not
read it either: what XMP, a text chunk of a PNG or a chunk behind the pixels says.
"""

import functools

import numpy as np
import tensorflow as tf

__all__ = ["exif_orientation", "read_orientation", "upright", "upright_size"]

_EXIF = b"Exif\0\0"
_TAG = 0x0112
_SHORT, _LONG = 3, 4
_ENTRY = 12  # bytes
# Byte order, then 42; some writers put it in the other order.
_HEADERS = [b"II*\0", b"MM\0*", b"II\0*", b"MM*\0"]
# A photo has some ten segments before its scan, and one more for each 64 KiB of a colour profile. Without a limit, a
# file made of fill bytes would take a step for each.
_MOST_STEPS = 1024


def exif_orientation(image_bytes):
    """Reads how a photo is to be turned.

    Args:
        image_bytes: string scalar, the content of a JPEG or PNG file; it may be cut or damaged anywhere.

    Returns:
        int32 scalar, EXIF code 1 to 8; 1, as it is, where the file names none or one that does not exist.
    """
    image_bytes = tf.convert_to_tensor(image_bytes)
    is_jpeg = tf.equal(tf.strings.substr(image_bytes, 0, 3), b"\xff\xd8\xff")
    is_png = tf.equal(tf.strings.substr(image_bytes, 0, 8), b"\x89PNG\r\n\x1a\n")
    block = tf.case(
        [
            (is_jpeg, lambda: _if_named(_EXIF, _block_of_jpeg, image_bytes)),
            (is_png, lambda: _if_named(b"eXIf", _block_of_png, image_bytes)),
        ],
        default=lambda: tf.constant(b""),
    )
    return tf.cond(tf.strings.length(block) > 0, lambda: _read_block(block), lambda: 1)


def read_orientation(content):
    """As `exif_orientation`, from Python: bytes to int, without TensorFlow's work where a file holds no EXIF."""
    if b"Exif" not in content and b"eXIf" not in content:
        return 1
    return int(_traced()(tf.constant(content)))


def upright(image, orientation):
    """Turns stored pixels as EXIF tells.

    Args:
        image: tensor of shape `(height, width, channels)`.
        orientation: EXIF code, int or integer scalar: 1 as it is, 2 mirrored left to right, 3 turned by 180 degrees,
            4 mirrored top to bottom, 5 transposed, 6 turned by 90 degrees clockwise, 7 transposed over the other
            diagonal, 8 turned by 90 degrees counter-clockwise.

    Returns:
        Tensor of `upright_size`, the same one where `orientation` is 1.
    """
    image, orientation = tf.convert_to_tensor(image), tf.cast(orientation, tf.int32)

    def turn():
        turned = tf.cond(orientation >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
        # After the transposition, a turn by 90 degrees is a mirror image.
        down = tf.where(_among(orientation, 3, 4, 7, 8), -1, 1)
        right = tf.where(_among(orientation, 2, 3, 6, 7), -1, 1)
        return turned[::down, ::right]

    result = tf.cond(tf.equal(orientation, 1), lambda: tf.identity(image), turn)
    result.set_shape([None, None, image.shape[-1]])
    return result


def upright_size(height, width, orientation):
    """Returns `(height, width)` of a photo after `upright`, from its stored sides; numbers, not tensors."""
    return (width, height) if orientation >= 5 else (height, width)


def _among(orientation, *codes):
    return tf.reduce_any(tf.equal(orientation, codes))


@functools.cache
def _traced():
    return tf.function(exif_orientation, autograph=False, input_signature=[tf.TensorSpec((), tf.string)])


def _if_named(word, find, data):
    """`find(data)` where the word stands anywhere: the walk takes as long as a look at half a megabyte."""
    parts = tf.strings.split(data[None], word, maxsplit=1).values
    return tf.cond(tf.size(parts) > 1, lambda: find(data), lambda: tf.constant(b""))


def _block_of_jpeg(data):
    """The EXIF block of a JPEG file, `b""` without one: a walk from segment to segment up to the scan."""
    end = tf.strings.length(data)

    def step(position, block):
        head = tf.strings.substr(data, position, 10)
        marker, size, *_ = tf.unstack(tf.cast(tf.io.decode_raw(head, tf.uint16, little_endian=False), tf.int32), 5)
        # Before a marker stand any number of 0xFF and, as decoders allow, of stray bytes.
        stray = (marker < 0xFF00) | tf.equal(marker, 0xFFFF)
        # Markers without a segment: 0xFF00, which is none, TEM, restarts and the start.
        alone = (marker <= 0xFF01) | ((marker >= 0xFFD0) & (marker <= 0xFFD8))
        after = position + tf.where(stray, 1, tf.where(alone, 2, 2 + size))
        found = tf.equal(marker, 0xFFE1) & tf.equal(tf.strings.substr(head, 4, 6), _EXIF)
        over = found | tf.equal(marker, 0xFFD9) | tf.equal(marker, 0xFFDA)
        block = tf.cond(found, lambda: tf.strings.substr(data, position + 10, tf.maximum(size - 8, 0)), lambda: block)
        return tf.where(over, end, after), block

    return _walk(step, 2, end - 10)


def _block_of_png(data):
    """The content of a PNG's eXIf chunk, `b""` without one before the pixels: a walk from chunk to chunk."""
    end = tf.strings.length(data)

    def step(position, block):
        size = tf.io.decode_raw(tf.strings.substr(data, position, 4), tf.int32, little_endian=False)[0]
        kind = tf.strings.substr(data, position + 4, 4)
        # A length that the file does not have would reach beyond int32.
        size = tf.clip_by_value(size, 0, end - position)
        found = tf.equal(kind, b"eXIf")
        over = found | tf.equal(kind, b"IDAT")
        block = tf.cond(found, lambda: tf.strings.substr(data, position + 8, size), lambda: block)
        return tf.where(over, end, position + 12 + size), block

    return _walk(step, 8, end - 8)


def _walk(step, start, last):
    """Repeats `step(position, block)` from `start` until it is past `last`, up to which all that it reads is whole."""
    first = tf.constant(start), tf.constant(b"")
    limits = {"maximum_iterations": _MOST_STEPS, "parallel_iterations": 1}
    return tf.while_loop(lambda position, _: position <= last, step, first, **limits)[1]


def _read_block(block):
    """Orientation from an EXIF block, which is a TIFF file without a picture."""
    # Some writers put the name of the segment into a PNG's chunk too.
    named = tf.equal(tf.strings.substr(block, 0, len(_EXIF)), _EXIF)
    block = tf.strings.substr(block, tf.where(named, len(_EXIF), 0), tf.strings.length(block))
    length = tf.cast(tf.strings.length(block), tf.int64)
    # So that the header and the number of entries can be read wherever the block was cut.
    block = tf.strings.join([block, b"\0" * 10])
    little = tf.equal(tf.strings.substr(block, 0, 1), b"I")
    known = tf.reduce_any(tf.equal(tf.strings.substr(block, 0, 4), _HEADERS))

    def number(digits):
        weights = 256 ** np.arange(digits.shape[-1])
        return tf.reduce_sum(digits * tf.where(little, weights, weights[::-1]), axis=-1)

    start = tf.minimum(number(_bytes(block, 4, 4)), length)
    count = tf.clip_by_value(number(_bytes(block, start, 2)), 0, tf.maximum(length - start - 2, 0) // _ENTRY)
    entries = tf.reshape(_bytes(block, start + 2, count * _ENTRY), [-1, _ENTRY])
    entries = tf.boolean_mask(entries, tf.equal(number(entries[:, :2]), _TAG))
    # As other readers do: the last one counts. The zeros stand for none.
    entry = tf.concat([tf.zeros([1, _ENTRY], tf.int64), entries], axis=0)[-1]
    kind, values, short, long = (number(entry[first:last]) for first, last in ((2, 4), (4, 8), (8, 10), (8, 12)))
    is_short, is_long = tf.equal(kind, _SHORT), tf.equal(kind, _LONG)
    # More values would stand elsewhere, with their place here.
    inside = (values >= 1) & (is_short & (values <= 2) | is_long & (values <= 1))
    code = tf.where(is_short, short, long)
    return tf.where(known & inside & (code >= 1) & (code <= 8), tf.cast(code, tf.int32), 1)


def _bytes(data, start, count):
    """`count` bytes of a string as an int64 tensor `(count,)`."""
    part = tf.strings.substr(data, tf.cast(start, tf.int64), tf.cast(count, tf.int64))
    values = tf.cast(tf.io.decode_raw(part, tf.uint8), tf.int64)
    return tf.reshape(values, [count])
