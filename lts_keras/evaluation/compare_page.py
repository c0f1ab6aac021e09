"""The page of a comparison: differences with their intervals, and the photos that changed most side by side."""

import contextlib

from lts_keras.data.checks.page import render_template
from lts_keras.data.schema import DataError
from lts_keras.evaluation.compare import most_changed
from lts_keras.evaluation.page_pictures import draw_answer, draw_truth, embed, read_photos, shrink
from lts_keras.evaluation.printed import GRES_METRICS, METRICS
from lts_keras.evaluation.report_page import shorten

__all__ = ["draw_changes", "format_comparison", "render_comparison"]

_KINDS = {"gains": "Photos that gained most", "losses": "Photos that lost most"}
_BAR = 100
"""Width of an interval's drawing, in its own units."""


def draw_changes(pairs, data_dirs, count=6):
    """Draws the photos whose answers changed most: photo, truth, the baseline's answer, the other one's.

    Args:
        pairs: list of `(row, row)`, as `compare` gives them.
        data_dirs: folders of prepared data, looked through in this order.
        count: int, at most so many photos that gained and so many that lost.

    Returns:
        dict of `most_changed`, each with `pictures`: four data URIs; empty where no folder has the photo any more.
    """
    changes = most_changed(pairs, count)
    left = [change for group in changes.values() for change in group]
    for data_dir in dict.fromkeys(data_dirs):
        # A folder that is gone or was prepared anew has none of the photos; the page says so below each.
        with contextlib.suppress(DataError):
            _draw(left, data_dir)
        left = [change for change in left if "pictures" not in change]
    for change in left:
        change["pictures"] = []
    return changes


def _draw(changes, data_dir):
    for number, photo, truth in read_photos([change["rows"][0] for change in changes], data_dir):
        first, second = changes[number]["rows"]
        drawn = [shrink(photo), draw_truth(photo, truth), draw_answer(photo, first), draw_answer(photo, second)]
        changes[number]["pictures"] = [embed(picture) for picture in drawn]


def format_comparison(name, baseline, result):
    """A comparison as aligned text: slices and parts, the difference with its interval, and what it is worth.

    In mean IoU; in localization where a slice has objects with boxes alone.

    Args:
        name, baseline: str.
        result: dict that `compare` gives.

    Returns:
        str, a few lines more than there are slices and parts.
    """
    rows = [("", "metric", name, baseline, "difference", "95 % interval", "P(better)", "expressions")]
    for slice_name, values in result["slices"].items():
        metric = _first_metric(values)
        rows.append((slice_name, *_texts(values, metric)))
        for dimension, parts in result["parts"][slice_name].items():
            rows += [(f"  {dimension}: {shorten(value, 30)}", *_texts(one, metric)) for value, one in parts.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    left = result["left_out"]
    told = f"{name} against {baseline}: {result['num_expressions']} expressions on {result['num_photos']} photos"
    if any(left):
        told += f"; left out, as the other one did not judge them: {left[0]} of {baseline}, {left[1]} of {name}"
    return "\n".join([told, *lines, warning(result)])


def warning(result):
    """What many comparisons at once mean, in a sentence with this comparison's numbers."""
    found = result["intervals"]
    return (
        f"{found['exclude_zero']} of {found['count']} intervals exclude zero; about {found['by_chance']:.1f} would "
        "where both are equally good. A part that stands out alone among many may be chance."
    )


def render_comparison(baseline, comparisons):
    """Renders the page.

    Args:
        baseline: str, name of the first model.
        comparisons: list of `(name, result, changes)`, from `compare` and `draw_changes`.

    Returns:
        HTML text without any reference to another file.
    """
    return render_template(
        "compare.html",
        baseline=baseline,
        comparisons=[_comparison(name, result, changes) for name, result, changes in comparisons],
    )


def _comparison(name, result, changes):
    titles, metrics = METRICS | GRES_METRICS, {one: _first_metric(values) for one, values in result["slices"].items()}
    cells = [one for values in result["slices"].values() for one in values.values() if isinstance(one, dict)]
    for slice_name, parts in result["parts"].items():
        cells += [one.get(metrics[slice_name]) for part in parts.values() for one in part.values()]
    reach = max((abs(cell[side]) for cell in cells if cell for side in ("low", "high")), default=0) or 1
    return {
        "name": name,
        "result": result,
        "warning": warning(result),
        "reach": reach,
        "slices": {
            slice_name: [(titles[one], values[one], _interval(values[one], reach)) for one in titles if one in values]
            for slice_name, values in result["slices"].items()
        },
        "metrics": {slice_name: titles[metric] for slice_name, metric in metrics.items()},
        "parts": {
            slice_name: [
                (dimension, [_part(value, one, metrics[slice_name], reach) for value, one in part.items()])
                for dimension, part in parts.items()
                if part
            ]
            for slice_name, parts in result["parts"].items()
        },
        "groups": [
            (
                _KINDS[kind],
                [(one, shorten(one["rows"][0]["expression"]), shorten(one["image_id"], 60)) for one in group],
            )
            for kind, group in changes.items()
        ],
    }


def _part(value, one, metric, reach):
    """A row of the table of parts: its name, its counts, the metric's figures and the ends of the drawing."""
    return shorten(value, 40), one, one.get(metric), _interval(one.get(metric), reach)


def _interval(cell, reach):
    """Ends and middle of an interval's drawing, zero in its centre."""
    if not cell:
        return None
    return [round(_BAR / 2 * (1 + max(-1, min(1, cell[side] / reach))), 1) for side in ("low", "high", "difference")]


def _first_metric(values):
    """What the parts of a slice are compared by: mean IoU, or localization where no object has a mask."""
    return next((metric for metric in ("mean_iou", "localization_accuracy") if metric in values), "mean_iou")


def _texts(values, metric):
    cell = values.get(metric)
    if not values.get("judged", True):
        middle = ["too few to judge", "", "", "", "", ""]
    elif cell is None:
        middle = ["-"] * 6
    else:
        interval = f"[{cell['low']:+.3f}, {cell['high']:+.3f}]"
        middle = [
            METRICS[metric],
            f"{cell['second']:.3f}",
            f"{cell['first']:.3f}",
            f"{cell['difference']:+.3f}",
            interval,
            f"{cell['better']:.2f}",
        ]
    return (*middle, str(values["num_expressions"]))
