"""Photos and sentences as people give them, checked before a server is asked. Pillow and numpy alone."""

import io
import struct
import unicodedata
from pathlib import Path

import numpy as np
from PIL import Image

from serving.errors import UsageError

__all__ = ["check_expressions", "decode_upright", "read_photo"]

_GREY = 128
_ORIENTATION = 0x0112
_FORMATS = {3: ("H", 2), 4: ("I", 1)}  # type number to form, and how many values stand in the entry itself
_HEADERS = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0")  # some writers put the 42 in the other order
_ENTRY = 12  # bytes
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def check_expressions(expressions):
    """Returns a list of sentences without space around them; raises `UsageError` for one that is empty or no words."""
    stripped = [expression.strip() for expression in expressions]
    if not stripped or not all(stripped):
        raise UsageError(f"an expression must not be empty. Received: {expressions!r}")
    for expression in stripped:
        kinds = [unicodedata.category(one) for one in unicodedata.normalize("NFKC", expression)]
        if "Cs" in kinds:
            raise UsageError(f"an expression must be text; this one has half of a character. Received: {expression!r}")
        # Letters, numbers and signs (an emoji is one); neither punctuation nor what nobody sees.
        if not any(kind[0] in "LN" or kind in ("Sc", "Sm", "So") for kind in kinds):
            raise UsageError(f"an expression must have a word in it. Received: {expression!r}")
    return stripped


def read_photo(path):
    """Reads a photo's bytes and pixels.

    Args:
        path: path of a JPEG or PNG file.

    Returns:
        `(bytes, PIL.Image.Image)`, the pixels as `decode_upright` gives them.

    Raises:
        UsageError: for a file that is missing or no photo.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot read the photo: {error.strerror or error}") from None
    try:
        return content, decode_upright(content)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error).split("<_io")[0].strip()
        raise UsageError(f"{path}: no JPEG or PNG photo that can be read: {reason}") from None


def decode_upright(content):
    """Decodes a photo as the model sees it, turned as EXIF tells: the frame that masks, boxes and points are in.

    What XMP says of a turn is not read, as the model and browsers do not.

    Args:
        content: bytes of a JPEG or PNG file.

    Returns:
        `PIL.Image.Image`, RGB.
    """
    image = Image.open(io.BytesIO(content), formats=("JPEG", "PNG"))
    # Not by Pillow's own reader, which warns of damaged blocks and looks into XMP; and before it comes to what stands
    # behind the pixels.
    turn = _TURNS.get(_orientation(image.info.get("exif", b"")))
    image.load()
    image = _as_seen(image)
    return image if turn is None else image.transpose(turn)


def _as_seen(image):
    """The pixels as the model takes them: of 16 bits the upper 8, and what is transparent laid over grey."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        lowest, highest = image.getchannel("A").getextrema()
        if lowest < highest:  # the same everywhere counts as opaque
            image = Image.alpha_composite(Image.new("RGBA", image.size, (*3 * (_GREY,), 255)), image)
    return image.convert("RGB")


def _orientation(block):
    """The code of the tag in the first directory of an EXIF block; 1 where there is none, or the block is damaged.

    By the rules of the model's graph: whole entries alone, and the last one counts.
    """
    block = block.removeprefix(b"Exif\0\0")
    if block[:4] not in _HEADERS or len(block) < 8:
        return 1
    order, code = "<" if block[:1] == b"I" else ">", 1
    (start,) = struct.unpack_from(f"{order}I", block, 4)
    if start + 2 > len(block):
        return 1
    (count,) = struct.unpack_from(f"{order}H", block, start)
    for entry in range(min(count, (len(block) - start - 2) // _ENTRY)):
        tag, kind, values = struct.unpack_from(f"{order}HHI", block, start + 2 + _ENTRY * entry)
        if tag == _ORIENTATION:
            form, most = _FORMATS.get(kind, ("B", 0))
            inside = 1 <= values <= most  # more values stand elsewhere
            (found,) = struct.unpack_from(order + form, block, start + 10 + _ENTRY * entry)
            code = found if inside else 1
    return code
