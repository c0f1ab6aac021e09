"""One question: photo and expressions checked before anything slow is imported."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from lts_keras.data.plain_photo import read_plain_orientation, turn_upright
from lts_keras.data.schema import DataError
from lts_keras.data.words import has_word

__all__ = ["check_expressions", "check_photo_file", "check_pixels", "read_photo", "view_photo"]


def check_expressions(expressions):
    """Returns a list of expressions without space around them.

    Raises:
        DataError: there is none, or one is empty, has no word (`?!`), or is no text that UTF-8 can hold.
    """
    if isinstance(expressions, str) or not all(isinstance(expression, str) for expression in expressions):
        raise DataError(f"expressions must be a list of strings. Received: {expressions!r}")
    stripped = [expression.strip() for expression in expressions]
    if not stripped or not all(stripped):
        raise DataError(f"an expression must not be empty. Received: {expressions!r}")
    for expression in stripped:
        if not has_word(expression):
            raise DataError(f"an expression must have a word in it. Received: {expression!r}")
        if any("\ud800" <= one <= "\udfff" for one in expression):
            raise DataError(f"an expression must be text; this one has half of a character. Received: {expression!r}")
    return stripped


def read_photo(photo):
    """Returns a name for messages and the bytes of a photo given as path or bytes; raises `DataError`."""
    if isinstance(photo, bytes):
        return "photo", photo
    try:
        return str(photo), Path(photo).read_bytes()
    except OSError as error:
        raise DataError(f"{photo}: cannot read the photo: {error.strerror or error}") from None


def check_pixels(photo):
    """Raises `DataError` for a photo, given as an array, that is not uint8 `(height, width, 3)` or holds nothing."""
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[-1] != 3 or not photo.size:
        raise DataError(f"a photo must be uint8 (height, width, 3). Received: {photo.dtype} {photo.shape}")


def check_photo_file(photo):
    """Raises `DataError` for a photo, given as path or bytes, that is missing, damaged or no JPEG or PNG file."""
    _decode(*read_photo(photo))


def view_photo(photo):
    """Decodes a photo for drawing on it.

    Args:
        photo: path or bytes of a JPEG or PNG file.

    Returns:
        uint8 array `(height, width, 3)`, turned upright by the photo's EXIF orientation, like the model's answers.

    Raises:
        DataError: as `check_photo_file`.
    """
    name, content = read_photo(photo)
    return turn_upright(_decode(name, content), read_plain_orientation(content))


def _decode(name, content):
    """The stored pixels, uint8 `(height, width, 3)`, without TensorFlow."""
    try:
        return np.asarray(Image.open(io.BytesIO(content), formats=("JPEG", "PNG")).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error).replace(repr(io.BytesIO), "the file").split("<_io")[0].strip()
        raise DataError(f"{name}: no JPEG or PNG photo that can be read: {reason}") from None
