"""Parts of a split: which expressions are in them, and that few are counted and not judged."""

import numpy as np
import pytest

from lts_keras.evaluation.reliability import reliability
from lts_keras.evaluation.scores import Scores, sweep_thresholds
from lts_keras.evaluation.slices import DIMENSIONS, has_place_words, parts_of
from tests.lts_keras.evaluation.rows import facts, row

ONE = np.ones((1, 1), bool)


def rows(**columns):
    """Rows that differ in some values, each given as a list."""
    return [row(ONE, ONE, **dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)]


@pytest.mark.parametrize(
    ("dimension", "columns", "parts"),
    [
        ("object size", {"area": [0.0299, 0.03, 0.1499, 0.15]}, {"small": [0], "medium": [1, 2], "large": [3]}),
        (
            "expression length",
            {"num_words": [1, 2, 3, 5, 6, 10, 11, 40]},
            {"1-2": [0, 1], "3-5": [2, 3], "6-10": [4, 5], "11+": [6, 7]},
        ),
        ("place words", {"place_words": [True, False]}, {"no": [1], "yes": [0]}),
        ("class", {"category": ["dog", "", "cat", "dog"]}, {"cat": [2], "dog": [0, 3]}),
        ("rivals", {"rivals": [0, 1, 2, 3, 9, -1]}, {"0": [0], "1": [1], "2": [2], "3+": [3, 4]}),
        ("unknown words", {"unknown_words": [0, 1, 3]}, {"none": [0], "some": [1, 2]}),
    ],
)
def test_parts_by_hand(dimension, columns, parts):
    found = parts_of(rows(**columns))
    assert tuple(found) == DIMENSIONS
    assert found[dimension] == parts
    assert list(found[dimension]) == list(parts), "in the order in which they are read"


def test_what_has_no_target_has_no_size_class_or_rivals():
    found = parts_of(rows(has_target=[False, True], num_words=[2, 2]))
    for dimension in DIMENSIONS:
        members = [number for numbers in found[dimension].values() for number in numbers]
        assert members == ([1] if dimension in ("object size", "class", "rivals") else [0, 1])


@pytest.mark.parametrize(("number", "kept", "others"), [(31, 31, 0), (32, 30, 2), (80, 30, 50)])
def test_rare_classes_are_taken_together(number, kept, others):
    names = [f"class {one:02}" for one in range(number)]
    names += names[-30:]  # the last ones are the common ones
    found = parts_of(rows(category=names))["class"]
    assert len(found) == kept + bool(others)
    assert len(found.get("other classes", [])) == others
    assert set(names[-30:]) <= set(found)
    if others:
        assert list(found)[-1] == "other classes"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("the LEFT dog", True),
        ("left-most dog", True),
        ("lefthand dog", True),
        ("dog,right", True),
        ("dog in the top corner", True),
        ("middle one", True),
        ("dog next to the cat", True),
        ("behind the fence", True),
        ("brightest dog", False),
        ("a stopwatch", False),
        ("leftover pizza", False),
        ("", False),
    ],
)
def test_words_of_place(expression, expected):
    assert has_place_words(expression) is expected


def scored(judged, **settings):
    scores = Scores()
    for one in judged:
        scores.add(one, facts(ONE))
    return scores.result(20, **settings)


def test_a_part_of_few_expressions_is_counted_and_not_judged():
    judged = rows(category=["dog"] * 4 + ["cat"] * 3, image_id=list("aabbccd"), ref_id=list("1123456"))
    found = scored(judged, min_slice_size=4)["parts"]["d/val"]["class"]
    assert found["cat"] == {"num_expressions": 3, "num_refs": 3, "num_photos": 2, "judged": False}
    assert found["dog"]["judged"] and found["dog"]["mean_iou"]["value"] == 1
    assert (found["dog"]["num_expressions"], found["dog"]["num_refs"], found["dog"]["num_photos"]) == (4, 3, 2)


def test_a_part_is_judged_on_its_own_expressions():
    none = np.zeros((1, 1), bool)
    judged = [row(ONE, ONE, num_words=2), row(none, ONE, num_words=2), row(ONE, ONE, num_words=7, image_id="b")]
    found = scored(judged, min_slice_size=1)["parts"]["d/val"]["expression length"]
    assert (found["1-2"]["mean_iou"]["value"], found["6-10"]["mean_iou"]["value"]) == (0.5, 1)


def test_whose_masks_the_answers_are_as_shares_of_those_with_a_target():
    judged = rows(found=["right", "right", "rival", "nothing", "nothing"], has_target=[True] * 4 + [False])
    found = scored(judged)["found"]["d/val"]
    assert found == {"right": 0.5, "rival": 0.25, "other": 0, "background": 0, "nothing": 0.25}


def test_the_sweep_by_hand():
    # Two expressions at two thresholds: intersections and unions.
    sweeps = [np.array([[2, 1], [4, 1]]), np.array([[3, 0], [3, 0]])]
    found = sweep_thresholds(sweeps)
    assert found["mean_iou"] == [0.75, 1]  # empty against empty is 1
    assert found["overall_iou"] == [5 / 7, 1]
    assert found["precision_at_50"] == [0.5, 1]


def test_reliability_by_hand():
    found = reliability([0.0, 0.05, 0.5, 0.99, 1.0], [False, True, True, True, False], bins=2)
    assert found[0] == {"low": 0, "high": 0.5, "count": 2, "presence": pytest.approx(0.025), "right": 0.5}
    assert found[1] == {
        "low": 0.5,
        "high": 1,
        "count": 3,
        "presence": pytest.approx(0.83),
        "right": pytest.approx(2 / 3),
    }
    assert reliability([0.9], [True], bins=2)[0] == {"low": 0, "high": 0.5, "count": 0, "presence": None, "right": None}
