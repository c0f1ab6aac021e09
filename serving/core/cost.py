"""What a request will cost, from its arrays: rows, bytes and the pixels of photos, whose headers alone are read."""

import dataclasses
import math
import re
import struct

__all__ = ["Cost", "cost_of", "photo_pixels"]

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_GIF = (b"GIF87a", b"GIF89a")  # this project's models refuse it, and others may take it
# Frame headers hold the size: SOF0 to SOF15 without DHT (C4), JPG (C8) and DAC (CC).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ENDS = frozenset((0xD9, 0xDA))  # of all; of the headers
# What decoders take for the next marker, garbage and padding skipped; those that stand alone are not looked at.
_MARKER = re.compile(rb"\xff([\x02-\xcf\xd9-\xfe])")
# Nobody writes so much before the size: who does wants it not to be found, or the search to take long.
_MOST_MARKERS = 2000
_MOST_GARBAGE = 1 << 16
_LARGEST_PHOTO = 0xFFFF**2
_GIF_EXTENSION, _GIF_PICTURE = 0x21, 0x2C
_MOST_BLOCKS = 1_000_000  # of at most 255 bytes
_OBJECT_BYTES = 40  # what a Python string takes beside its content
_SENTENCES = "expression"
# What the graph takes for each byte of a sentence that it normalizes and cuts into words: 56 were measured at most.
_BYTES_PER_SENTENCE_BYTE = 64


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a request costs.

    Attributes:
        rows: int, the longest first dimension of its inputs.
        bytes: int, what its arrays take.
        pixels: int, of its photos once decoded, as often as a row asks for one.
        sentence_bytes: int, of all sentences that are asked of photos.
    """

    rows: int = 1
    bytes: int = 0
    pixels: int = 0
    sentence_bytes: int = 0


def cost_of(inputs):
    """Counts what the inputs of a request cost; nothing is decoded.

    A photo whose header cannot be read costs no pixels: the graph refuses it.

    Args:
        inputs: dict from name to an array; strings as object arrays of bytes.

    Returns:
        `Cost`.
    """
    rows = max((len(array) for array in inputs.values() if array.ndim), default=1)
    size = pixels = sentence_bytes = 0
    for name, array in inputs.items():
        size += array.nbytes
        if array.dtype == object:
            values = array.ravel().tolist()
            size += sum(len(value) + _OBJECT_BYTES for value in values)
            # One photo for K sentences is worked on K times.
            times = -(-rows // len(values)) if values else 0
            pixels += times * sum(photo_pixels(value) for value in values)
            if name == _SENTENCES and len(inputs) > 1:
                sentence_bytes = sum(map(len, values))
    return Cost(rows, size + _BYTES_PER_SENTENCE_BYTE * sentence_bytes, pixels, sentence_bytes)


def photo_pixels(content):
    """Pixels that a JPEG, PNG or GIF file says it has, an int, a moving GIF's in each picture; 0 for anything else."""
    if not isinstance(content, bytes):
        return 0
    if content.startswith(_JPEG):
        return _jpeg_pixels(content)
    if content.startswith(_PNG) and content[12:16] == b"IHDR" and len(content) >= 24:
        width, height = struct.unpack(">II", content[16:24])
        return width * height
    if content.startswith(_GIF) and len(content) >= 13:
        return _gif_pixels(content)
    return 0


def _gif_pixels(content):
    width, height, flags = struct.unpack("<HHB", content[6:11])
    pictures, position = 0, 13 + _colors_bytes(flags)
    blocks = 0
    while position < len(content):
        kind = content[position]
        if kind == _GIF_EXTENSION:
            position += 2
        elif kind == _GIF_PICTURE:
            pictures += 1
            position += 11 + (_colors_bytes(content[position + 9]) if position + 9 < len(content) else 0)
        else:
            break
        while position < len(content) and content[position]:
            position += 1 + content[position]
            blocks += 1
            if blocks > _MOST_BLOCKS:
                return _LARGEST_PHOTO
        position += 1
    return width * height * max(1, pictures)


def _colors_bytes(flags):
    """Size of a GIF's table of colours."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _jpeg_pixels(content):
    position, garbage = 2, _MOST_GARBAGE
    for _ in range(_MOST_MARKERS):
        found = _MARKER.search(content, position, position + garbage)
        if found is None:
            return 0 if position + garbage >= len(content) else _LARGEST_PHOTO
        if found[1][0] in _ENDS:
            return 0
        garbage -= found.start() - position
        start = found.end()
        if found[1][0] in _FRAMES:
            size = content[start + 3 : start + 7]
            return math.prod(struct.unpack(">HH", size)) if len(size) == 4 else 0
        position = start + int.from_bytes(content[start : start + 2], "big")
    return _LARGEST_PHOTO
