"""Intervals by bootstrap: values by hand, what they hold, and where they have nothing to say."""

import importlib.util
import itertools

import numpy as np
import pytest

from lts_keras.evaluation.bootstrap import intervals, paired_difference, photo_sums, studentized
from lts_keras.evaluation.sums import GRES_METRICS, METRICS
from tests.lts_keras.evaluation.rows import row

COUNT = len(METRICS) + len(GRES_METRICS)


@pytest.fixture(scope="module")
def worlds(repo):
    spec = importlib.util.spec_from_file_location("bootstrap_coverage", repo / "benchmarks" / "bootstrap_coverage.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def columns(values):
    """The same numbers for each metric."""
    return np.repeat(np.asarray(values, "float64")[:, None], COUNT, axis=1)


def test_sums_of_photos_by_hand():
    (found,) = photo_sums(["b", "a", "b"], np.array([[1.0, 2], [3, 4], [5, 6]]))
    np.testing.assert_array_equal(found, [[3, 4], [6, 8]])


def test_the_interval_by_hand_from_every_world_of_five_photos():
    above, below = np.array([0.1, 0.2, 0.1, 0.1, 27.0]), np.array([1.0, 1.0, 2.0, 1.0, 30.0])
    ratio = above.sum() / below.sum()

    def error(a, b):
        moved = (a - a.sum() / b.sum() * b) / b.mean()
        return np.sqrt((moved**2).sum() / (5 * 4))

    own, away = error(above, below), []
    for drawn in itertools.product(range(5), repeat=5):
        a, b = above[list(drawn)], below[list(drawn)]
        away.append(abs(a.sum() / b.sum() - ratio) / max(error(a, b), own / 2))
    half = np.quantile(away, 0.95, method="inverted_cdf") * own
    assert half > 1.5 * 2.776 * own  # far beyond Student's t of four degrees of freedom
    found = studentized([(columns(above), columns(below))], samples=10_000)
    np.testing.assert_allclose(found["value"], ratio)
    np.testing.assert_allclose(found["high"] - found["value"], half, rtol=0.05)
    np.testing.assert_allclose(found["value"] - found["low"], half, rtol=0.05)


def test_the_share_of_worlds_above_zero_counts_equal_ones_half():
    # One photo says nothing, one speaks for the second model and one against it.
    first, second = columns([1, 0, 1]), columns([1, 1, 0])
    found = studentized([(first, columns([1, 1, 1])), (second, columns([1, 1, 1]))], samples=10_000)
    np.testing.assert_allclose(found["value"], 0, atol=1e-12)
    np.testing.assert_allclose(found["above_zero"], 0.5, atol=0.02)
    found = studentized([(columns([0, 0]), columns([1, 1])), (columns([0, 1]), columns([1, 1]))], samples=10_000)
    # A quarter of the worlds holds the first photo alone, where both are equal.
    np.testing.assert_allclose(found["above_zero"], 0.75 + 0.25 / 2, atol=0.02)


def test_where_all_photos_agree_the_interval_is_the_value():
    photos = [str(number) for number in range(9)]
    found = intervals(photos, columns([0.7] * 9), columns([1.0] * 9), 200)
    np.testing.assert_allclose(found, 0.7, atol=1e-6)


def test_one_photo_tells_nothing_and_two_little():
    assert intervals(["a"], columns([0.4]), columns([1.0]), 50)[:, 0].tolist() == [0, 1]
    low, high = intervals(["a", "b"], columns([0.47, 0.49]), columns([1.0, 1.0]), 400)[:, 0]
    # 12.706 of Student's t times the standard error of 0.01.
    assert (low, high) == (pytest.approx(0.48 - 0.12706, abs=1e-4), pytest.approx(0.48 + 0.12706, abs=1e-4))


def test_what_is_not_counted_has_no_interval():
    nothing = columns([0.0] * 5)
    assert np.isnan(intervals(list("abcde"), nothing, nothing, 50)[:, 0]).all()
    found = paired_difference([row([[1]], None, box=(0, 0, 1, 1))] * 2, [row([[1]], None, box=(0, 0, 1, 1))] * 2, 50)
    assert np.isnan([found[name][0] for name in ("difference", "low", "high", "better")]).all()
    assert found["difference"][METRICS.index("localization_accuracy")] == 0


def test_models_of_equal_answers_differ_by_nothing():
    rows = [row([[1, 0]], [[1, one]], image_id=str(number)) for number, one in enumerate([0, 1, 1, 0])]
    found = paired_difference(rows, rows, 100)
    for name, value in (("difference", 0), ("low", 0), ("high", 0), ("better", 0.5)):
        np.testing.assert_allclose(found[name][: len(METRICS)], value, atol=1e-6)


def test_a_model_that_is_better_on_every_photo_is_better_in_every_world():
    rng = np.random.default_rng(0)
    truth, first, second = np.ones((1, 100), bool), [], []
    for number in range(30):
        area = int(rng.integers(10, 80))
        worse, better = np.arange(100)[None] < area, np.arange(100)[None] < area + 5
        first.append(row(worse, truth, image_id=str(number)))
        second.append(row(better, truth, image_id=str(number)))
    found = paired_difference(first, second, 300)
    assert found["better"][0] == 1 and found["low"][0] > 0.04
    # Paired: the photos differ by far more than the models do.
    assert found["high"][0] - found["low"][0] < 0.01
    with pytest.raises(ValueError, match="same expressions"):
        paired_difference(first, second[::-1], 300)


def test_the_same_seed_gives_the_same_interval_whatever_the_memory(monkeypatch):
    rng = np.random.default_rng(1)
    photos, above = [str(number) for number in range(40)], columns(rng.random(40))
    first = intervals(photos, above, np.ones_like(above), 100, seed=3)
    monkeypatch.setattr("lts_keras.evaluation.bootstrap._CHUNK_VALUES", 400)
    np.testing.assert_allclose(intervals(photos, above, np.ones_like(above), 100, seed=3), first)
    assert (intervals(photos, above, np.ones_like(above), 100, seed=4) != first).any()


def test_the_interval_holds_the_truth_as_often_as_it_says(worlds):
    """In 100 worlds; `benchmarks/bootstrap_coverage.py` draws 500."""
    ours, plain, width, _ = worlds.coverage(100, (40, 50), 300, 5, 50_000)
    assert all(0.88 <= share <= 1 for share in ours)
    assert 0.92 <= np.mean(ours) <= 0.98
    # What a wide interval would hold too: it is no wider than it must be.
    assert width[worlds.METRICS.index("mean_iou")] < 0.18
    place = worlds.METRICS.index("overall_iou")
    assert plain[place] < ours[place]
