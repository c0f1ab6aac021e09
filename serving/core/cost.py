"""What a request will cost, from its arrays: rows, bytes and the pixels of photos, whose headers alone are read."""

import dataclasses
import struct

__all__ = ["Cost", "cost_of", "photo_pixels"]

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
# Frame headers hold the size: SOF0 to SOF15 without DHT (C4), JPG (C8) and DAC (CC).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a length
_OBJECT_BYTES = 40  # what a Python string takes beside its content


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a request costs.

    Attributes:
        rows: int, the longest first dimension of its inputs.
        bytes: int, what its arrays take.
        pixels: int, of its photos once decoded, as often as a row asks for one.
    """

    rows: int = 1
    bytes: int = 0
    pixels: int = 0


def cost_of(inputs):
    """Counts what the inputs of a request cost; nothing is decoded.

    A photo whose header cannot be read costs no pixels: the graph refuses it.

    Args:
        inputs: dict from name to an array; strings as object arrays of bytes.

    Returns:
        `Cost`.
    """
    rows = max((len(array) for array in inputs.values() if array.ndim), default=1)
    size = pixels = 0
    for array in inputs.values():
        size += array.nbytes
        if array.dtype == object:
            values = array.ravel().tolist()
            size += sum(len(value) + _OBJECT_BYTES for value in values)
            # One photo for K sentences is worked on K times.
            times = -(-rows // len(values)) if values else 0
            pixels += times * sum(photo_pixels(value) for value in values)
    return Cost(rows, size, pixels)


def photo_pixels(content):
    """Pixels that a JPEG or PNG file says it has, an int; 0 for anything else."""
    if not isinstance(content, bytes):
        return 0
    if content.startswith(_JPEG):
        return _jpeg_pixels(content)
    if content.startswith(_PNG) and content[12:16] == b"IHDR" and len(content) >= 24:
        width, height = struct.unpack(">II", content[16:24])
        return width * height
    return 0


def _jpeg_pixels(content):
    position, pixels = 2, 0
    while True:
        position = content.find(b"\xff", position)
        if position < 0 or position + 9 > len(content):
            return pixels
        marker = content[position + 1]
        if marker in (0x00, 0xFF) or marker in _ALONE:
            position += 2 if marker in _ALONE or marker == 0x00 else 1
            continue
        if marker in (0xDA, 0xD9):  # the picture itself begins, or all ends
            return pixels
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", content[position + 5 : position + 9])
            pixels = max(pixels, width * height)
        position += 2 + max(2, int.from_bytes(content[position + 2 : position + 4], "big"))
