"""Figures 4 and 5 of the paper: the same photo under several models, prior and mask beside the truth."""

import io

import numpy as np

from lts_keras.evaluation.pictures import TRUTH, fit, heat_map, overlay
from lts_keras.utils.files import atomic_write

__all__ = ["LINES_A_PAGE", "draw_answer", "write_page", "write_picture"]

LINES_A_PAGE = 40
_SIDE = 480
"""Longest side of a picture in a page, in pixels."""
_WIDTH, _HEIGHT, _GAP, _TEXT = 1.5, 1.25, 0.06, 0.22
"""Of a picture, and of a line of text, in inches."""
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "lts",  # and the file the same from run to run
    "pdf.fonttype": 42,
}


def draw_answer(photo, truth=None, prior=None, mask=None, point=None):
    """One small picture: photo, prior, mask or truth over it, whichever is given.

    Args:
        photo: uint8 array `(height, width, 3)`.
        truth, mask: bool array `(height, width)`, or `None`.
        prior: float array `(height, width)` of probabilities, or `None`.
        point: `(x, y)` of the prior's maximum, or `None`.

    Returns:
        uint8 array, at most 480 pixels high and wide.
    """
    picture = photo
    if truth is not None:
        picture = overlay(photo, truth, color=TRUTH)
    elif prior is not None:
        picture = heat_map(photo, prior, point=point)
    elif mask is not None:
        picture = overlay(photo, mask)
    return np.asarray(fit(picture, _SIDE))


def write_picture(path, row, names):
    """Writes the PNG of one expression.

    Args:
        path: path of the file.
        row: dict `expression`, `photo`, `truth` (or `None`), and `models`: list of `(prior, mask)`; all pictures from
            `draw_answer`.
        names: list of str, the models.
    """
    atomic_write(path, _render([row], names, ("png",))["png"])


def write_page(path, rows, names):
    """Writes a page as SVG and as PDF, with text as text.

    Args:
        path: path without an ending.
        rows: list of dicts as for `write_picture`, at most `LINES_A_PAGE`.
        names: list of str.

    Returns:
        List of the two paths.
    """
    files = _render(rows, names, ("svg", "pdf"))
    return [atomic_write(path.with_name(f"{path.name}.{ending}"), content) for ending, content in files.items()]


def _render(rows, names, endings):
    """Bytes of a figure for each ending."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with_truth = any(row["truth"] is not None for row in rows)
    columns = 1 + 2 * len(names) + with_truth
    width = columns * (_WIDTH + _GAP) + _GAP
    head = 2 * _TEXT + _GAP
    height = head + len(rows) * (_TEXT + _HEIGHT + _GAP)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), facecolor="white")
        FigureCanvasAgg(figure)
        _draw_heads(figure, names, with_truth, width, height)
        for number, row in enumerate(rows):
            top = height - head - number * (_TEXT + _HEIGHT + _GAP)
            _draw_row(figure, row, with_truth, top, width, height)
        files = {}
        for ending in endings:
            buffer = io.BytesIO()
            options = {"metadata": {"Date" if ending == "svg" else "CreationDate": None}} if ending != "png" else {}
            figure.savefig(buffer, format=ending, dpi=200, **options)
            files[ending] = buffer.getvalue()
    return files


def _left(column):
    return _GAP + column * (_WIDTH + _GAP)


def _draw_heads(figure, names, with_truth, width, height):
    first, second = height - 0.6 * _TEXT, height - 1.6 * _TEXT

    def write(column, span, y, text, **style):
        middle = _left(column) + (span * (_WIDTH + _GAP) - _GAP) / 2
        figure.text(middle / width, y / height, text, ha="center", va="center", parse_math=False, **style)

    write(0, 1, second, "photo")
    for place, name in enumerate(names):
        write(1 + 2 * place, 2, first, _cut(name, 44), weight="bold")
        write(1 + 2 * place, 1, second, "prior")
        write(2 + 2 * place, 1, second, "mask")
    if with_truth:
        write(1 + 2 * len(names), 1, second, "truth")


def _draw_row(figure, row, with_truth, top, width, height):
    """The expression, and below it its pictures; a cell without one stays empty."""
    from matplotlib.axes import Axes

    text = _cut(f"“{row['expression']}”", int(width / 0.068))
    figure.text(_left(0) / width, (top - _TEXT / 2) / height, text, ha="left", va="center", parse_math=False)
    pictures = [row["photo"], *(picture for pair in row["models"] for picture in pair)]
    for column, picture in enumerate([*pictures, *([row["truth"]] if with_truth else [])]):
        if picture is None:
            continue
        place = (_left(column) / width, (top - _TEXT - _HEIGHT) / height, _WIDTH / width, _HEIGHT / height)
        axes = Axes(figure, place, frameon=False, anchor="N")
        axes.set_axis_off()
        axes.imshow(picture, interpolation="antialiased")
        figure.add_axes(axes)


def _cut(text, length):
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 2]}…{'”' if text.endswith('”') else ''}"
