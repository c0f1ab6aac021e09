"""Photo to pixels with Pillow and numpy alone: what `decode_image` and `upright` do where there is no TensorFlow."""

import io
import struct
import warnings

import numpy as np
from PIL import Image

from lts_keras.data.schema import DataError

__all__ = ["decode_photo", "read_plain_orientation", "turn_upright"]

_GREY = 128  # what transparent pixels are laid over, as the letterbox
_TAG, _ENTRY = 0x0112, 12
_MOST_STEPS = 1024
_HEADERS = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0")


def decode_photo(name, content, max_pixels):
    """Decodes a JPEG or PNG file and turns it upright by its EXIF orientation.

    Args:
        name: str for messages.
        content: bytes.
        max_pixels: int. Larger photos are refused before they are decoded.

    Returns:
        uint8 RGB array `(height, width, 3)`.

    Raises:
        DataError: no whole JPEG or PNG photo, or one that is too large.
    """
    try:
        with warnings.catch_warnings():
            # The limit is `max_pixels`.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
                width, height = image.size
                if not 0 < width * height <= max_pixels:
                    raise DataError(
                        f"{name}: the photo must have 1 to {max_pixels} pixels; its height and width: {height} {width}"
                    )
                pixels = np.asarray(image.convert("RGB")) if image.format == "JPEG" else _pixels_of_png(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error).replace(repr(io.BytesIO), "the file").split("<_io")[0].strip()
        raise DataError(f"{name}: no JPEG or PNG photo that can be read: {reason}") from None
    return turn_upright(pixels, read_plain_orientation(content))


def _pixels_of_png(image):
    if image.mode.startswith("I"):  # grey of 16 bits
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    pixels = np.asarray(image.convert("RGBA"))
    colors, alpha = pixels[..., :3], pixels[..., 3:]
    # Alpha that is the same everywhere counts as opaque.
    if alpha.min() == alpha.max():
        return colors
    alpha = alpha.astype(np.uint16)
    return ((colors * alpha + _GREY * (255 - alpha) + 127) // 255).astype(np.uint8)


def turn_upright(pixels, orientation):
    """As `lts_keras.data.orientation.upright`, of an array `(height, width, channels)`."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def read_plain_orientation(content):
    """As `lts_keras.data.orientation.read_orientation`: EXIF code 1 to 8 of the bytes of a photo."""
    if content[:3] == b"\xff\xd8\xff" and b"Exif\0\0" in content:
        return _read_block(_block_of_jpeg(content))
    if content[:8] == b"\x89PNG\r\n\x1a\n" and b"eXIf" in content:
        return _read_block(_block_of_png(content))
    return 1


def _block_of_jpeg(data):
    position = 2
    for _ in range(_MOST_STEPS):
        if position > len(data) - 10:
            break
        marker, size = struct.unpack_from(">HH", data, position)
        if marker == 0xFFE1 and data[position + 4 : position + 10] == b"Exif\0\0":
            return data[position + 10 : position + 10 + max(size - 8, 0)]
        if marker in (0xFFD9, 0xFFDA):
            break
        if marker < 0xFF00 or marker == 0xFFFF:  # a stray byte
            position += 1
        elif marker <= 0xFF01 or 0xFFD0 <= marker <= 0xFFD8:  # a marker without a segment
            position += 2
        else:
            position += 2 + size
    return b""


def _block_of_png(data):
    position = 8
    for _ in range(_MOST_STEPS):
        if position > len(data) - 8:
            break
        (size,), kind = struct.unpack_from(">i", data, position), data[position + 4 : position + 8]
        size = min(max(size, 0), len(data) - position)
        if kind == b"eXIf":
            return data[position + 8 : position + 8 + size]
        if kind == b"IDAT":
            break
        position += 12 + size
    return b""


def _read_block(block):
    """Orientation from an EXIF block; the last entry of its first directory that names one counts."""
    block = block[6:] if block[:6] == b"Exif\0\0" else block
    length, order = len(block), "<" if block[:1] == b"I" else ">"
    if block[:4] not in _HEADERS:
        return 1
    block += bytes(10)  # so that the header can be read wherever the block was cut
    start = min(struct.unpack_from(f"{order}I", block, 4)[0], length)
    count = min(struct.unpack_from(f"{order}H", block, start)[0], max(length - start - 2, 0) // _ENTRY)
    for number in reversed(range(count)):
        place = start + 2 + _ENTRY * number
        tag, kind, values = struct.unpack_from(f"{order}HHI", block, place)
        if tag != _TAG:
            continue
        # SHORT or LONG; more values would stand elsewhere, with their place here.
        fits = values >= 1 and values <= {3: 2, 4: 1}.get(kind, 0)
        code = struct.unpack_from(f"{order}H" if kind == 3 else f"{order}I", block, place + 8)[0]
        return code if fits and 1 <= code <= 8 else 1
    return 1
