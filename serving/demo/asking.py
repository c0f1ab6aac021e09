"""From what a person gave the page to answers, or to words that say what is wrong."""

import dataclasses
import io
import re
import time
import warnings
from pathlib import Path

import grpc
from PIL import Image, ImageOps

from serving.client.photos import check_expressions, decode_upright
from serving.errors import ServingError, UsageError

__all__ = ["MOST_SENTENCES", "Found", "ask", "in_words", "read_sentences", "read_upload"]

MOST_SENTENCES = 12

_WORDS = {
    grpc.StatusCode.UNAVAILABLE: "The server at {target} cannot be reached. Is it running? Your photo is kept.",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "The server has too much to do just now. Wait a moment and try again.",
    grpc.StatusCode.DEADLINE_EXCEEDED: "The server took too long. Try again, or ask for fewer things at once.",
    grpc.StatusCode.NOT_FOUND: "The server at {target} has no such model: {message}",
    grpc.StatusCode.INVALID_ARGUMENT: "The server does not take this photo: {message}",
}


@dataclasses.dataclass(frozen=True)
class Found:
    """Answers about one photo.

    Attributes:
        photo: `PIL.Image.Image`, upright.
        sentences: list of str.
        answers: list of `Answer`, one for each sentence.
        seconds: float, how long the server took.
    """

    photo: Image.Image
    sentences: list
    answers: list
    seconds: float


def read_sentences(text):
    """Sentences of a text, one a line.

    Raises:
        UsageError: in words for a person, where there is none, one without a word, or too many.
    """
    # A paste may bring control characters, which no SVG may hold.
    lines = [re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", line).strip() for line in (text or "").splitlines()]
    lines = [line for line in lines if line]
    if not lines:
        raise UsageError("Say what to look for, for example “the left dog”.")
    if len(lines) > MOST_SENTENCES:
        raise UsageError(f"At most {MOST_SENTENCES} sentences at a time, please; these are {len(lines)}.")
    for line in lines:
        try:
            check_expressions([line])
        except UsageError:
            raise UsageError(f"“{line}” has no word in it.") from None
    return lines


def read_upload(path):
    """A file that the page was given, as the server takes it.

    JPEG and PNG go as they are; other pictures (a clipboard's or a camera's) are written as PNG, upright.

    Args:
        path: path of the file; `None` for none.

    Returns:
        `(bytes, PIL.Image.Image)`, the picture upright.

    Raises:
        UsageError: in words for a person.
    """
    if path is None:
        raise UsageError("Give a photo first: drop one, paste one, or take one with the camera.")
    try:
        content = Path(path).read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, on odd or large photos: the server decides
            with Image.open(io.BytesIO(content)) as picture:
                if picture.format not in ("JPEG", "PNG"):
                    file, upright = io.BytesIO(), ImageOps.exif_transpose(picture)
                    upright.convert("RGBA" if upright.has_transparency_data else "RGB").save(file, "PNG")
                    content = file.getvalue()
            return content, decode_upright(content)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise UsageError("This file is no picture that can be read. JPEG and PNG are sure to work.") from None


def ask(client, content, photo, sentences):
    """Asks the server about one photo; returns `Found`, raises `ServingError`."""
    started = time.monotonic()
    try:
        answers = client.segment(content, sentences, prior=True)
    except ServingError as error:
        # A model that was exported before the prior was served.
        if error.code != grpc.StatusCode.FAILED_PRECONDITION:
            raise
        answers = client.segment(content, sentences)
    return Found(photo, sentences, answers, time.monotonic() - started)


def in_words(error, target):
    """What a `ServingError` means, for a person."""
    message = " ".join(str(error).split())
    words = _WORDS.get(error.code, "The server could not answer: {message}")
    return words.format(target=target, message=message)
