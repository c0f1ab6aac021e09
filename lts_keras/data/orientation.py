"""The EXIF orientation of a photo: read from its bytes, and applied to its pixels. Graph operations alone.

Phones store a photo as the sensor saw it and write beside it how it is to be turned. Browsers and labelling tools show
the turned photo, so annotations lie in that frame. Training, evaluation and the served graph share these functions.

The orientation is read from where cameras write it: tag 0x0112, of type SHORT or LONG, in the first directory of a
JPEG's APP1 segment "Exif" before the scan, or of a PNG's eXIf chunk before its pixels. Not read, as browsers do not
read it either: what XMP, a text chunk of a PNG or a chunk behind the pixels says.
"""

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


# One function, traced once: a graph that reads photos in several places holds it once.
@tf.function(autograph=False, input_signature=[tf.TensorSpec((), tf.string)])
def exif_orientation(image_bytes):
    """Reads how a photo is to be turned.

    Args:
        image_bytes: string scalar, the content of a JPEG or PNG file; it may be cut or damaged anywhere.

    Returns:
        int32 scalar, EXIF code 1 to 8; 1, as it is, where the file names none or one that does not exist.
    """
    is_jpeg = tf.equal(tf.strings.substr(image_bytes, 0, 3), b"\xff\xd8\xff")
    is_png = tf.equal(tf.strings.substr(image_bytes, 0, 8), b"\x89PNG\r\n\x1a\n")
    # A look at all bytes costs a twentieth of decoding them, the walk as much as a look at half a megabyte: photos in
    # which the name does not stand are not walked through.
    word = tf.where(is_jpeg, _EXIF, b"eXIf")
    named = tf.size(tf.strings.split(image_bytes[None], word, maxsplit=1).values) > 1

    def read():
        return _read_block(tf.cond(is_jpeg, lambda: _block_of_jpeg(image_bytes), lambda: _block_of_png(image_bytes)))

    return tf.cond((is_jpeg | is_png) & named, read, lambda: 1)


def read_orientation(content):
    """As `exif_orientation`, from Python: bytes to int, without TensorFlow's work where a file holds no EXIF."""
    if b"Exif" not in content and b"eXIf" not in content:
        return 1
    return int(exif_orientation(tf.constant(content)))


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
    shape = [None, None, image.shape[-1]]
    image = tf.cond(orientation >= 5, lambda: _transpose(image), lambda: image)
    # What a transposition leaves to do is a mirror image. Slices with a step of -1 would take twenty times as long.
    mirrored = tf.stack([_among(orientation, 3, 4, 7, 8), _among(orientation, 2, 3, 6, 7)])
    axes = tf.boolean_mask([0, 1], mirrored)
    image = tf.cond(tf.size(axes) > 0, lambda: tf.reverse(image, axes), lambda: image)
    image.set_shape(shape)
    return image


def upright_size(height, width, orientation):
    """Returns `(height, width)` of a photo after `upright`, from its stored sides; numbers, not tensors."""
    return (width, height) if orientation >= 5 else (height, width)


def _transpose(image):
    # `tf.transpose` is no faster, and of bytes it makes oneDNN write a line to the error stream.
    height, width, channels = tf.unstack(tf.shape(image))
    pixels = tf.reshape(image, [1, height * width, channels])
    return tf.space_to_batch(pixels, [width], [[0, 0]])


def _among(orientation, *codes):
    return tf.reduce_any(tf.equal(orientation, codes))


def _block_of_jpeg(data):
    """The EXIF block of a JPEG file, `b""` without one: a walk from segment to segment up to the scan."""

    def step(position):
        head = tf.strings.substr(data, position, 10)
        marker, size, *_ = tf.unstack(tf.cast(tf.io.decode_raw(head, tf.uint16, little_endian=False), tf.int32), 5)
        # Before a marker stand any number of 0xFF and, as decoders allow, of stray bytes.
        stray = (marker < 0xFF00) | tf.equal(marker, 0xFFFF)
        # Markers without a segment: 0xFF00, which is none, TEM, restarts and the start.
        alone = (marker <= 0xFF01) | ((marker >= 0xFFD0) & (marker <= 0xFFD8))
        found = tf.equal(marker, 0xFFE1) & tf.equal(tf.strings.substr(head, 4, 6), _EXIF)
        over = tf.equal(marker, 0xFFD9) | tf.equal(marker, 0xFFDA)
        after = position + tf.where(stray, 1, tf.where(alone, 2, 2 + size))
        return after, position + 10, tf.where(found, tf.maximum(size - 8, 0), 0), found | over

    return _walk(data, 2, 10, step)


def _block_of_png(data):
    """The content of a PNG's eXIf chunk, `b""` without one before the pixels: a walk from chunk to chunk."""
    length = tf.strings.length(data)

    def step(position):
        size = tf.io.decode_raw(tf.strings.substr(data, position, 4), tf.int32, little_endian=False)[0]
        kind = tf.strings.substr(data, position + 4, 4)
        # A length that the file does not have would reach beyond int32.
        size = tf.clip_by_value(size, 0, length - position)
        found = tf.equal(kind, b"eXIf")
        return position + 12 + size, position + 8, tf.where(found, size, 0), found | tf.equal(kind, b"IDAT")

    return _walk(data, 8, 8, step)


def _walk(data, first, head, step):
    """Walks through a file and cuts a block out.

    Args:
        data: string scalar.
        first: int, where the walk begins.
        head: int. So many bytes are whole wherever `step` is called.
        step: function from a position to the next one, start and size of the block, and whether the walk is over.

    Returns:
        String scalar, `b""` if no block was found.
    """
    last = tf.strings.length(data) - head
    _, start, size, _ = tf.while_loop(
        lambda position, start, size, over: ~over & (position <= last),
        lambda position, start, size, over: step(position),
        (first, 0, 0, False),
        maximum_iterations=_MOST_STEPS,
        parallel_iterations=1,
    )
    return tf.strings.substr(data, start, size)


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
