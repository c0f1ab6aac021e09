"""`python -m serving predict`: one photo, some sentences; an overlay picture, or JSON."""

import json
import os
import time
import warnings
from pathlib import Path

import grpc

from serving.client import ServingError
from serving.client.drawing import draw_answers
from serving.client.photos import check_expressions, read_photo
from serving.commands.connection import add_connection_arguments, open_client
from serving.errors import UsageError

__all__ = ["add_arguments", "run"]


def add_arguments(parser):
    """Adds the command's flags to an `argparse.ArgumentParser`."""
    add_connection_arguments(parser)
    parser.add_argument("--image", type=Path, required=True, metavar="FILE", help="JPEG or PNG file")
    parser.add_argument(
        "--expression", action="append", required=True, metavar="TEXT", help="what to look for; may be given again"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="PNG file to draw (default: overlay.png; none with --json)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(options):
    """Asks, draws and prints.

    Args:
        options: namespace with the flags.

    Returns:
        List of `Answer`.

    Raises:
        UsageError: for a photo or sentence that cannot be asked about, or that the server refuses.
        ServingError: if the server cannot be reached or fails.
    """
    expressions = check_expressions(options.expression)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, on odd or large photos: the server decides
        content, photo = read_photo(options.image)
    output = options.output or (None if options.json else Path("overlay.png"))
    if output is not None and not output.parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {output.parent}")
    with open_client(options) as client:
        started = time.monotonic()
        try:
            answers = client.segment(content, expressions)
        except ServingError as error:
            if error.code == grpc.StatusCode.INVALID_ARGUMENT:
                raise UsageError(f"{options.image}: refused by the server: {error}") from None
            raise
        seconds = time.monotonic() - started
    if output is not None:
        _write(output, draw_answers(photo, expressions, answers))
    if options.json:
        print(json.dumps(_document(options, expressions, answers, seconds, output), ensure_ascii=False))
        return answers
    for expression, answer in zip(expressions, answers, strict=True):
        sure = "" if answer.presence is None else f", presence {answer.presence:.3f}"
        share = answer.mask.mean()
        print(f"{expression!r}: score {answer.score:.3f}{sure}, box {answer.box}, {share:.1%} of the photo")
    print(f"overlay: {output}")
    print(f"answered by {options.model_name} version {answers[0].version} at {options.target} in {seconds:.2f} s")
    return answers


def _document(options, expressions, answers, seconds, output):
    height, width = answers[0].mask.shape
    return {
        "image": str(options.image),
        "size": [height, width],
        "model": options.model_name,
        "version": answers[0].version,
        "seconds": round(seconds, 4),
        "overlay": None if output is None else str(output),
        "answers": [
            {"expression": expression, **answer.to_json()}
            for expression, answer in zip(expressions, answers, strict=True)
        ],
    }


def _write(path, picture):
    """Writes a PNG file, whole or not at all."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        picture.save(aside, "PNG")
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise UsageError(f"{path}: cannot write the picture: {error.strerror or error}") from None
