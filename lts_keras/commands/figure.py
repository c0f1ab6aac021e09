"""`lts figure`: the same photos and expressions under several presets, as pictures and as a page for a paper."""

import dataclasses
import json
from pathlib import Path

import numpy as np
from PIL import Image

from lts_keras.config.errors import ConfigError
from lts_keras.config.read import parse_config
from lts_keras.data.schema import DataError
from lts_keras.evaluation.figures import LINES_A_PAGE, draw_answer, write_page, write_picture
from lts_keras.prediction.question import check_expressions, read_photo, view_photo
from lts_keras.utils.quiet import import_tensorflow
from lts_keras.weights import WeightsError

__all__ = ["add_figure_arguments", "draw_figure", "read_expressions"]

_KEYS = {"image", "expression", "mask"}


@dataclasses.dataclass(frozen=True)
class _Asked:
    """One line of the file."""

    image: Path
    expression: str
    mask: Path | None
    place: str


def add_figure_arguments(parser):
    """Adds the command's arguments to an `argparse.ArgumentParser`."""
    parser.add_argument("--presets", nargs="+", type=Path, required=True, metavar="DIR", help="folders of models")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="heads of their columns (default: folder names)")
    parser.add_argument(
        "--expressions",
        type=Path,
        required=True,
        metavar="FILE",
        help='JSON lines {"image": path, "expression": text, "mask": path or absent}; paths from FILE\'s folder',
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of the pictures and pages")
    parser.add_argument("overrides", nargs="*", metavar="imports=[...]", help="modules with classes of one's own")
    parser.add_argument("--verbose", action="store_true", help="show the traceback of a failure")


def draw_figure(options):
    """Draws everything.

    Args:
        options: namespace with the arguments of `add_figure_arguments`.

    Returns:
        List of the paths of the pages.

    Raises:
        ConfigError: names that do not fit the presets, or another override than `imports`.
        DataError: a line, photo or mask that cannot be used, naming file and line.
        WeightsError: a preset that is missing or damaged.
    """
    foreign = [override for override in options.overrides if not override.startswith("imports=")]
    if foreign:
        raise ConfigError(f"with presets only imports=[...] counts. Received: {' '.join(foreign)}")
    presets = [_preset(path) for path in options.presets]
    names = options.names or _names(options.presets)
    if len(names) != len(presets):
        raise ConfigError(f"--names must have one for each of {len(presets)} presets. Received: {len(names)}")
    asked = read_expressions(options.expressions)
    rows = [_row(one) for one in asked]
    import_tensorflow()
    from lts_keras.models.trained import model_of_preset

    config = parse_config({}, options.overrides)
    for name, preset in zip(names, presets, strict=True):
        # One model at a time, and of its answers small pictures alone.
        predictor = model_of_preset(config, preset).predictor()
        for row, one in zip(rows, asked, strict=True):
            content = read_photo(one.image)[1]
            photo, answer = view_photo(one.image), predictor(content, one.expression)
            prior = draw_answer(photo, prior=answer.prior, point=answer.point)
            row["models"].append((prior, draw_answer(photo, mask=answer.mask)))
        print(f"answered {len(rows)} expressions: {name}", flush=True)
    return _write(options.output, rows, names)


def read_expressions(path):
    """Reads the file of expressions.

    Args:
        path: path of JSON lines.

    Returns:
        List of objects with `image`, `expression`, `mask` (path or `None`) and `place` (file:line).

    Raises:
        DataError: naming file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    # Not `splitlines`: an expression may hold a line separator of Unicode.
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        raise DataError(f'{path}: no line; each is {{"image": path, "expression": text, "mask": path or absent}}')
    return [_line(line, path.parent, f"{path}:{number}") for number, line in lines]


def _line(line, folder, place):
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        raise DataError(f"{place}: not JSON: {line[:60]!r}") from None
    if not isinstance(values, dict):
        raise DataError(f"{place}: must be an object with image and expression. Received: {line[:60]!r}")
    wrong = sorted(values.keys() - _KEYS)
    if wrong:
        raise DataError(f"{place}: unknown key {wrong[0]!r}; keys are image, expression and mask")
    for key in ("image", "expression"):
        if not isinstance(values.get(key), str) or not values[key].strip():
            raise DataError(f"{place}: {key} must be a text. Received: {values.get(key)!r}")
    mask = values.get("mask")
    if mask is not None and not isinstance(mask, str):
        raise DataError(f"{place}: mask must be a path. Received: {mask!r}")
    try:
        (expression,) = check_expressions([values["expression"]])
    except DataError as error:
        raise DataError(f"{place}: {error}") from None
    return _Asked(folder / values["image"], expression, folder / mask if mask else None, place)


def _row(asked):
    """The pictures that no model is needed for; checks photo and mask before any model is read."""
    try:
        photo = view_photo(asked.image)
    except DataError as error:
        raise DataError(f"{asked.place}: {error}") from None
    truth = None if asked.mask is None else draw_answer(photo, truth=_read_mask(asked, photo.shape[:2]))
    return {"expression": asked.expression, "photo": draw_answer(photo), "truth": truth, "models": []}


def _read_mask(asked, size):
    try:
        with Image.open(asked.mask) as image:
            mask = np.asarray(image.convert("L")) > 0
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{asked.place}: mask {asked.mask}: no picture that can be read: {error}") from None
    if mask.shape != size:
        raise DataError(
            f"{asked.place}: mask {asked.mask}: {mask.shape[1]} x {mask.shape[0]}, and the photo is "
            f"{size[1]} x {size[0]}"
        )
    return mask


def _preset(path):
    """The folder itself, or that of the work directory."""
    for folder in (path, path / "train" / "preset"):
        if (folder / "model.json").is_file():
            return folder
    raise WeightsError(f"{path / 'model.json'}: no such file; a preset is what `lts train` leaves in train/preset")


def _names(paths):
    """Names that tell the presets apart: of the work directory, where the folder is one's `train/preset`."""
    places = [path.resolve() for path in paths]
    places = [place.parents[1] if place.parts[-2:] == ("train", "preset") else place for place in places]
    for depth in range(1, max(len(place.parts) for place in places)):
        names = ["/".join(place.parts[-depth:]) for place in places]
        if len(set(names)) == len(names):
            return names
    return [f"{place} ({number})" for number, place in enumerate(places, start=1)]


def _write(output, rows, names):
    for number, row in enumerate(rows, start=1):
        write_picture(output / f"{number:04}.png", row, names)
    pages = []
    for number, start in enumerate(range(0, len(rows), LINES_A_PAGE), start=1):
        pages += write_page(output / f"page_{number}", rows[start : start + LINES_A_PAGE], names)
    print(f"figure: {', '.join(map(str, pages))} and {len(rows)} pictures")
    return pages
