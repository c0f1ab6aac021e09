"""Scores over expressions: every metric by name, per slice and part, with intervals and trivial answers beside."""

import collections

import numpy as np

from lts_keras.evaluation.bootstrap import intervals
from lts_keras.evaluation.facts import SWEEP
from lts_keras.evaluation.reliability import reliability
from lts_keras.evaluation.slices import parts_of
from lts_keras.evaluation.sums import GRES_METRICS, METRICS, metric_sums, ratios
from lts_keras.evaluation.trivial import TrivialAnswers
from lts_keras.evaluation.whose import FOUND
from lts_keras.metrics import intersection_over_union

__all__ = ["Scores", "sweep_thresholds"]

_KEPT = (
    "dataset",
    "split",
    "ref_id",
    "image_id",
    "category",
    "intersection",
    "union",
    "iou",
    "prior_hit",
    "has_target",
    "area",
    "rivals",
    "num_words",
    "unknown_words",
    "place_words",
    "presence",
    "found",
)


class Scores:
    """Collects expressions one at a time and keeps numbers alone, so its memory does not grow with the photos' size.

    Args:
        groups: dict of further slices: name -> data sets that it takes together.
    """

    def __init__(self, groups=None):
        self._groups = groups or {}
        self._rows, self._sweeps = collections.defaultdict(list), collections.defaultdict(list)
        self._trivial = collections.defaultdict(TrivialAnswers)

    def add(self, row, facts):
        """Adds one expression.

        Args:
            row: dict, as `rows_and_facts` gives it and predictions.json holds it.
            facts: `Facts`.
        """
        kept = {name: row[name] for name in _KEPT}
        groups = [group for group, datasets in self._groups.items() if row["dataset"] in datasets]
        for name in (f"{row['dataset']}/{row['split']}", *groups):
            self._rows[name].append(kept)
            self._trivial[name].add(facts)
            if facts.sweep is not None:
                self._sweeps[name].append(facts.sweep)

    def result(self, bootstrap_samples=1000, seed=0, min_slice_size=30):
        """All metrics.

        Args:
            bootstrap_samples: int. Drawn worlds of the photos; the interval holds 95 %. 0 leaves it out.
            seed: int.
            min_slice_size: int. A part of fewer expressions is counted and not judged.

        Returns:
            dict: `slices`: name -> metric -> `{"value", "low", "high"}`, and counts; `parts`: name -> dimension ->
            value -> the same, with `judged`; `trivial`: name -> answer -> metric; `sweep`: name -> metrics at each
            threshold; `reliability`: name -> table of presence against an IoU above 0.5 (an empty answer where there is
            no target); `found`: name -> whose mask the answers are, as shares.
        """
        slices, parts = {}, {}
        for name, rows in sorted(self._rows.items()):
            sums = metric_sums(rows)
            slices[name] = _summarize(rows, sums, bootstrap_samples, seed)
            parts[name] = {
                dimension: {
                    value: _part(rows, sums, numbers, min_slice_size, bootstrap_samples, seed)
                    for value, numbers in values.items()
                }
                for dimension, values in parts_of(rows).items()
            }
        return {
            "slices": slices,
            "parts": parts,
            "trivial": {name: item.result() for name, item in sorted(self._trivial.items())},
            "sweep": {name: sweep_thresholds(sweeps) for name, sweeps in sorted(self._sweeps.items())},
            "reliability": {name: _reliability(rows) for name, rows in sorted(self._rows.items())},
            "found": {name: _found(rows) for name, rows in sorted(self._rows.items())},
        }


def sweep_thresholds(sweeps):
    """Metrics at each threshold of `SWEEP`.

    Args:
        sweeps: list of int64 `(2, thresholds)`, intersections and unions of each expression.

    Returns:
        dict of lists, one value for each threshold: `thresholds`, `mean_iou`, `overall_iou`, `precision_at_50`.
    """
    intersection, union = np.stack(sweeps, axis=1)
    iou = intersection_over_union(intersection, union)
    return {
        "thresholds": SWEEP.tolist(),
        "mean_iou": iou.mean(0).tolist(),
        "overall_iou": intersection_over_union(intersection.sum(0), union.sum(0)).tolist(),
        "precision_at_50": (iou > 0.5).mean(0).tolist(),
    }


def _part(rows, sums, numbers, min_slice_size, samples, seed):
    chosen = [rows[number] for number in numbers]
    if len(chosen) < min_slice_size:
        return _counts(chosen) | {"judged": False}
    return _summarize(chosen, [side[numbers] for side in sums], samples, seed) | {"judged": True}


def _summarize(rows, sums, samples, seed):
    numerators, denominators = sums
    values, found = ratios(numerators.sum(0), denominators.sum(0)), {}
    photos = [row["image_id"] for row in rows]
    low, high = intervals(photos, numerators, denominators, samples, seed) if samples else (None, None)
    without = sum(not row["has_target"] for row in rows)
    names = (*METRICS, *GRES_METRICS)
    for name in names if without else METRICS:
        place = names.index(name)
        there = not np.isnan(values[place])
        found[name] = {"value": float(values[place]) if there else None}
        if samples and there:
            found[name] |= {"low": float(low[place]), "high": float(high[place])}
    return found | _counts(rows) | ({"num_no_target": without} if without else {})


def _counts(rows):
    return {
        "num_expressions": len(rows),
        "num_refs": len({(row["dataset"], row["split"], row["ref_id"]) for row in rows}),
        "num_photos": len({row["image_id"] for row in rows}),
    }


def _reliability(rows):
    judged = [row for row in rows if row["iou"] is not None]
    return reliability([row["presence"] for row in judged], [row["iou"] > 0.5 for row in judged]) if judged else []


def _found(rows):
    counts = collections.Counter(row["found"] for row in rows if row["has_target"])
    total = counts.total()
    return {name: counts[name] / total for name in FOUND} if total else {}
