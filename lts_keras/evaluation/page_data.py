"""The numbers of an evaluation's page, made from judged expressions: chosen answers, charts and the filter's table."""

import collections
import math

import numpy as np

from lts_keras.evaluation.slices import parts_of

__all__ = ["choose", "count_found", "curves", "filter_table", "iou_by_area", "iou_histogram", "slice_name"]

_AREAS = (0.0, 0.01, 0.03, 0.07, 0.15, 0.3, 1.0)
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_OTHER_CLASSES = "other classes"


def slice_name(row):
    """Name of the slice that an expression belongs to."""
    return f"{row['dataset']}/{row['split']}"


def choose(rows, count, seed=0):
    """Chooses answers to show: the best, those around the median and the worst by IoU, and drawn ones.

    Answers are ranked among expressions with a target and a true mask; of equal ones chance decides. Each photo is
    shown once as long as there are others.

    Args:
        rows: list of dicts of predictions.json.
        count: int, how many in all; a quarter of each kind.
        seed: the same answers for the same seed.

    Returns:
        dict `best`, `median`, `worst`, `drawn` -> list of rows, none of them twice.
    """
    shuffled = [rows[number] for number in np.random.default_rng(seed).permutation(len(rows))]
    ranked = sorted((row for row in shuffled if row["iou"] is not None and row["has_target"]), key=lambda r: -r["iou"])
    middle = (len(ranked) - 1) / 2
    by_place = sorted(range(len(ranked)), key=lambda place: abs(place - middle))
    orders = {"best": ranked, "worst": ranked[::-1], "median": [ranked[place] for place in by_place], "drawn": shuffled}
    photos, taken, chosen = set(), set(), {}
    for kind, order in orders.items():
        free = [row for row in order if id(row) not in taken]
        chosen[kind] = _apart(free, count // 4 + (count % 4 if kind == "drawn" else 0), photos)
        taken |= {id(row) for row in chosen[kind]}
    chosen["median"].sort(key=lambda row: -row["iou"])
    return {kind: chosen[kind] for kind in ("best", "median", "worst", "drawn")}


def _apart(rows, count, photos):
    """The first rows of photos that were not shown; where these do not suffice, the first of the rest too."""
    fresh, rest = [], []
    for row in rows:
        if len(fresh) == count:
            break
        (rest if row["image_id"] in photos else fresh).append(row)
        photos.add(row["image_id"])
    order = {id(row): place for place, row in enumerate(rows)}
    return sorted([*fresh, *rest[: count - len(fresh)]], key=lambda row: order[id(row)])


def count_found(rows, names):
    """How many answers lie on which object, of expressions with a target.

    Args:
        rows: list of dicts of predictions.json.
        names: dict, value of `found` -> its words.

    Returns:
        List of `(words, count, share)`; empty where no expression has a target.
    """
    counts = collections.Counter(row["found"] for row in rows if row["has_target"])
    total = counts.total()
    return [(words, counts[name], counts[name] / total) for name, words in names.items()] if total else []


def iou_histogram(rows, bins=20):
    """Bars of how many answers have which IoU; empty without true masks."""
    values = [row["iou"] for row in rows if row["iou"] is not None]
    if not values:
        return []
    counts = np.histogram(values, bins=bins, range=(0, 1))[0].tolist()
    return [
        {"label": f"{place / bins:g}" if place % 4 == 0 else "", "value": count, "note": ""}
        for place, count in enumerate(counts)
    ]


def iou_by_area(rows):
    """Bars of the mean IoU by the object's share of the photo, with the middle half of the answers as the range."""
    masked, bars = [row for row in rows if row["iou"] is not None and row["has_target"]], []
    for low, high in zip(_AREAS, _AREAS[1:], strict=False):
        values = [row["iou"] for row in masked if low < row["area"] <= high]
        quarter = np.quantile(values, (0.25, 0.75)).tolist() if values else (None, None)
        bars.append(
            {
                "label": f"{100 * low:g}–{100 * high:g} %",
                "note": f"n = {len(values)}",
                "value": float(np.mean(values)) if values else None,
                "low": quarter[0],
                "high": quarter[1],
            }
        )
    return bars if masked else []


def curves(history):
    """Sorts the columns of a training's history into charts.

    Args:
        history: dict of history.json, name -> one value an epoch or `None`.

    Returns:
        dict, title -> name -> list of `(epoch, value)`: losses, metrics of validation, learning rate; those there are.
    """
    charts = {"Loss": {}, "Metrics on validation": {}, "Learning rate": {}}
    for name, values in history.items():
        if name == "epoch" or not isinstance(values, list):
            continue
        points = [(place + 1, value) for place, value in enumerate(values) if _is_number(value)]
        if name in ("loss", "val_loss"):
            charts["Loss"][{"loss": "training", "val_loss": "validation"}[name]] = points
        elif name in ("learning_rate", "lr"):
            charts["Learning rate"][name] = points
        elif name.startswith("val_") and "loss" not in name:
            charts["Metrics on validation"][name.removeprefix("val_")] = points
    return {title: lines for title, lines in charts.items() if any(lines.values())}


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def filter_table(rows, most_classes=12):
    """Sums for any one or two values of the dimensions, exact however many expressions there are.

    A page that adds them up itself needs no row: its size depends on the number of values alone.

    Args:
        rows: list of dicts of predictions.json.
        most_classes: int. The commonest classes that can be chosen; the rest are one value.

    Returns:
        Tuple `(table, members)`. `table`: `slices` names, `dimensions` list of `[name, [values]]`, `sums`: for each
        slice, for each of expressions, masks, IoU in hundredths, IoU above 0.5, located, prior hits, right objects:
        the upper triangle (with its diagonal, one value alone) of values by values as numbers to the base 36, and
        `totals`: the same of the whole slice. `members`: for each row, the numbers of its values.
    """
    values, inside = _members(rows, most_classes)
    names = sorted({slice_name(row) for row in rows})
    of_slice = np.array([names.index(slice_name(row)) for row in rows])
    columns = np.array(
        [
            (
                1,
                row["iou"] is not None,
                100 * (row["iou"] or 0),
                (row["iou"] or 0) > 0.5,
                row["prior_hit"] is not None,
                bool(row["prior_hit"]),
                row["found"] == "right" and row["has_target"],
            )
            for row in rows
        ],
        "float64",
    )
    upper = np.triu_indices(inside.shape[1])
    sums, totals = [], []
    for number in range(len(names)):
        here, stats = inside[of_slice == number], columns[of_slice == number]
        pairs = [((here * column[:, None]).T @ here)[upper] for column in stats.T]
        sums.append([",".join(_base_36(round(value)) for value in column) for column in pairs])
        totals.append([round(value) for value in stats.sum(0)])
    table = {"slices": names, "dimensions": values, "sums": sums, "totals": totals}
    return table, [np.flatnonzero(row).tolist() for row in inside]


def _members(rows, most_classes):
    """`([[dimension, [values]]], float64 (rows, values))`, which values each row has."""
    dimensions, columns = [], []
    for dimension, parts in parts_of(rows).items():
        if dimension == "class":
            parts = _commonest(parts, most_classes)
        if parts:
            dimensions.append([dimension, list(parts)])
        for numbers in parts.values():
            column = np.zeros(len(rows))
            column[numbers] = 1
            columns.append(column)
    return dimensions, np.stack(columns, axis=1)


def _commonest(parts, most):
    ranked = sorted((name for name in parts if name != _OTHER_CLASSES), key=lambda name: -len(parts[name]))
    kept, rest = sorted(ranked[:most]), [*ranked[most:], *(name for name in parts if name == _OTHER_CLASSES)]
    found = {name: parts[name] for name in kept}
    return found | ({_OTHER_CLASSES: sorted(sum((parts[name] for name in rest), []))} if rest else {})


def _base_36(number):
    """A count to the base 36; nothing for zero, which most pairs have."""
    digits = ""
    while number:
        number, last = divmod(number, 36)
        digits = _DIGITS[last] + digits
    return digits
