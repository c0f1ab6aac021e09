"""Metrics against an independent count: plain loops over pixels."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from lts_keras.evaluation.scores import Scores
from lts_keras.evaluation.sums import GRES_METRICS, METRICS
from tests.lts_keras.evaluation.rows import facts, row

NAMES = (*METRICS, *GRES_METRICS)
HEIGHT, WIDTH = 3, 4


def masks():
    """Masks of 12 pixels; every fourth is empty or full."""
    drawn = st.lists(st.booleans(), min_size=HEIGHT * WIDTH, max_size=HEIGHT * WIDTH)
    same = st.booleans().map(lambda value: [value] * (HEIGHT * WIDTH))
    return st.one_of(drawn, drawn, drawn, same).map(lambda values: np.reshape(values, (HEIGHT, WIDTH)))


def judged():
    """Answer, truth (`None` for a box alone), the point, and which photo."""
    truth = st.one_of(masks(), masks(), masks(), st.none())
    return st.tuples(masks(), truth, st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), st.sampled_from("abc"))


def count(judged):
    """Metric name -> value, `None` where nothing is counted, by loops and the definitions alone."""
    ious, intersections, unions, hits = [], 0, 0, []
    no_target, target = [], []
    for mask, truth, x, y, _ in judged:
        empty = not any(mask[i][j] for i in range(HEIGHT) for j in range(WIDTH))
        if truth is None:
            hits.append(1 <= x < 3 and 0 <= y < 2)  # the box of `rows_of`
            target.append(not empty)
            continue
        both = either = area = 0
        for i in range(HEIGHT):
            for j in range(WIDTH):
                both += bool(mask[i][j] and truth[i][j])
                either += bool(mask[i][j] or truth[i][j])
                area += bool(truth[i][j])
        if area:
            hits.append(bool(truth[y][x]))
            target.append(not empty)
        else:
            no_target.append(empty)
        ious.append(both / either if area else float(empty))
        intersections, unions = intersections + both, unions + either

    def mean(values):
        return sum(values) / len(values) if values else None

    overall = (intersections / unions if unions else 1.0) if ious else None
    found = {"mean_iou": mean(ious), "overall_iou": overall, "localization_accuracy": mean(hits)}
    found |= {f"precision_at_{x}": mean([iou > x / 100 for iou in ious]) for x in (50, 60, 70, 80, 90)}
    if no_target:
        found |= {"giou": mean(ious), "ciou": overall, "n_acc": mean(no_target), "t_acc": mean(target)}
    return found


def rows_of(judged):
    for number, (mask, truth, x, y, photo) in enumerate(judged):
        found = "right" if mask.any() else "nothing"
        yield row(mask, truth, (1, 0, 3, 2), point=(x, y), image_id=photo, ref_id=str(number), found=found)


def scores_of(judged, samples=0):
    scores = Scores()
    for one, (_, truth, *_) in zip(rows_of(judged), judged, strict=True):
        scores.add(one, facts(np.zeros((HEIGHT, WIDTH)) if truth is None else truth))
    return scores.result(samples)["slices"]["d/val"]


@hypothesis.given(st.lists(judged(), min_size=10, max_size=14))
@hypothesis.settings(max_examples=100, deadline=None)
def test_metrics_are_those_of_an_independent_count(judged):
    """A thousand pairs and more."""
    found, expected = scores_of(judged), count(judged)
    assert {name for name in NAMES if name in found} == set(expected)
    for name, value in expected.items():
        assert found[name]["value"] == (None if value is None else pytest.approx(value, abs=1e-12)), name
    assert found.get("num_no_target", 0) == sum(truth is not None and not truth.any() for _, truth, *_ in judged)


@hypothesis.given(st.lists(judged(), min_size=2, max_size=8))
@hypothesis.settings(max_examples=20, deadline=None)
def test_the_interval_holds_the_value_and_stays_within_what_is_possible(judged):
    for name, metric in scores_of(judged, samples=30).items():
        if name in NAMES and metric["value"] is not None:
            assert -1e-9 <= metric["low"] <= metric["value"] + 1e-9
            assert metric["value"] - 1e-9 <= metric["high"] <= 1 + 1e-9


def test_no_target_by_hand():
    full, none = np.ones((HEIGHT, WIDTH), bool), np.zeros((HEIGHT, WIDTH), bool)
    half = full.copy()
    half[:, 2:] = False
    judged = [
        (none, none, 0, 0, "a"),  # right: nothing there, nothing answered
        (half, none, 0, 0, "b"),  # 6 pixels where nothing is
        (half, full, 0, 0, "c"),  # IoU 0.5
        (none, full, 0, 0, "d"),  # an object is there, and the answer is empty
    ]
    found = {name: scores_of(judged)[name]["value"] for name in NAMES}
    assert found["giou"] == found["mean_iou"] == (1 + 0 + 0.5 + 0) / 4
    assert found["ciou"] == found["overall_iou"] == 6 / (6 + 12 + 12)
    assert (found["n_acc"], found["t_acc"]) == (0.5, 0.5)
    # Two expressions have no target, and no point of theirs is counted.
    assert found["localization_accuracy"] == 1
    assert found["precision_at_50"] == 0.25, "0.5 is not above 0.5"
