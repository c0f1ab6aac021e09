"""Parts of a split that are judged for themselves: by size, length, place words, class, rivals and unknown words."""

import collections
import re

__all__ = ["DIMENSIONS", "LARGE_AREA", "SMALL_AREA", "has_place_words", "parts_of"]

SMALL_AREA, LARGE_AREA = 0.03, 0.15
"""Shares of the photo. COCO's own limits are pixels, which say nothing once photos have other sizes than COCO's."""

DIMENSIONS = ("object size", "expression length", "place words", "class", "rivals", "unknown words")
_OF_TARGETS = ("object size", "class", "rivals")
_MOST_CLASSES = 30
_OTHER_CLASSES = "other classes"
_LENGTHS = ((2, "1-2"), (5, "3-5"), (10, "6-10"))

_PLACE_WORDS = frozenset(
    """above back behind below beneath beside between bottom bottommost center centre closer closest corner down edge
    far farther farthest front furthest highest left leftmost lower lowest middle near nearer nearest next over right
    rightmost side top topmost under underneath up upper uppermost""".split()
)


def has_place_words(expression):
    """Whether a word of an expression names a place in the photo or a side of something.

    Args:
        expression: str, in any case; "left-most", "lefthand" and "top-left" count too.
    """
    words = re.findall(r"[a-z]+", expression.lower())
    return any(word in _PLACE_WORDS or word.startswith(("lefthand", "righthand")) for word in words)


def parts_of(rows):
    """Groups the rows of one slice along each dimension.

    Expressions without a target have neither size nor class nor rivals.

    Args:
        rows: list of dicts, as `rows_and_facts` gives them and predictions.json holds them.

    Returns:
        dict: dimension -> value -> list of the numbers of its rows; values in the order in which they are read.
    """
    parts = {dimension: collections.defaultdict(list) for dimension in DIMENSIONS}
    common = _common_classes(rows)
    for number, row in enumerate(rows):
        for dimension, value in _values(row, common).items():
            if value is not None and (row["has_target"] or dimension not in _OF_TARGETS):
                parts[dimension][value].append(number)
    return {
        dimension: {value: values[value] for value in sorted(values, key=lambda one: _order(dimension, one))}
        for dimension, values in parts.items()
    }


def _values(row, common):
    category = row["category"]
    return {
        "object size": "small" if row["area"] < SMALL_AREA else "medium" if row["area"] < LARGE_AREA else "large",
        "expression length": next((name for most, name in _LENGTHS if row["num_words"] <= most), "11+"),
        "place words": "yes" if row["place_words"] else "no",
        "class": (category if category in common else _OTHER_CLASSES) if category else None,
        "rivals": None if row["rivals"] < 0 else str(row["rivals"]) if row["rivals"] < 3 else "3+",
        "unknown words": "some" if row["unknown_words"] else "none",
    }


def _common_classes(rows):
    counts = collections.Counter(row["category"] for row in rows if row["has_target"] and row["category"])
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    # One class more than the limit would stand alone among the others.
    return set(ranked if len(ranked) <= _MOST_CLASSES + 1 else ranked[:_MOST_CLASSES])


def _order(dimension, value):
    if dimension == "object size":
        return ("small", "medium", "large").index(value)
    if dimension == "expression length":
        return [name for _, name in (*_LENGTHS, (None, "11+"))].index(value)
    return (value == _OTHER_CLASSES, value)
