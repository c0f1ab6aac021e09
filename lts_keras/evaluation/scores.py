"""Scores over expressions: every metric by name, per slice, with bootstrap intervals and trivial answers beside."""

import collections

import numpy as np

from lts_keras.evaluation.trivial import TrivialAnswers
from lts_keras.metrics import PRECISIONS, intersection_over_union

__all__ = ["Scores"]


class Scores:
    """Collects answers one at a time and keeps numbers alone, so its memory does not grow with the photos' size.

    Args:
        groups: dict of further slices: name -> data sets that it takes together.
    """

    def __init__(self, groups=None):
        self._groups = groups or {}
        self._rows = collections.defaultdict(list)
        self._trivial = collections.defaultdict(TrivialAnswers)

    def add(self, row, facts):
        """Adds one expression.

        Args:
            row: dict, as `rows_and_facts` gives it and predictions.json holds it.
            facts: `Facts`.
        """
        name = f"{row['dataset']}/{row['split']}"
        hit = np.nan if row["prior_hit"] is None else float(row["prior_hit"])
        pair = (row["intersection"], row["union"]) if row["union"] is not None else (np.nan, np.nan)
        values = (row["image_id"], f"{name}/{row['ref_id']}", *pair, hit)
        groups = [group for group, datasets in self._groups.items() if row["dataset"] in datasets]
        for slice_name in (name, *groups):
            self._rows[slice_name].append(values)
            self._trivial[slice_name].add(facts)

    def result(self, bootstrap_samples=1000, seed=0, min_slice_size=30):
        """All metrics.

        Args:
            bootstrap_samples: int. Resamplings of the photos; the interval holds 95 % of them. 0 leaves it out.
            seed: int.

        Returns:
            dict with `slices` and `trivial`: slice name -> metric name -> `{"value", "low", "high"}`, and counts.
        """
        slices = {name: _summarize(rows, bootstrap_samples, seed) for name, rows in sorted(self._rows.items())}
        return {"slices": slices, "trivial": {name: item.result() for name, item in sorted(self._trivial.items())}}


def _summarize(rows, bootstrap_samples, seed):
    photos, refs, intersection, union, hit = (np.array(column) for column in zip(*rows, strict=True))
    _, photo = np.unique(photos, return_inverse=True)
    values = _metrics(intersection, union, hit)
    samples = _bootstrap(photo, intersection, union, hit, bootstrap_samples, seed)
    result = {}
    for name, value in values.items():
        result[name] = {"value": value}
        if samples and value is not None:
            low, high = np.nanpercentile([sample[name] for sample in samples], (2.5, 97.5))
            result[name] |= {"low": float(low), "high": float(high)}
    counts = {"num_expressions": len(rows), "num_refs": len(np.unique(refs)), "num_photos": int(photo.max()) + 1}
    return result | counts


def _metrics(intersection, union, hit):
    masked = ~np.isnan(union)
    values = {name: None for name in ("mean_iou", "overall_iou", *(f"precision_at_{p}" for p in PRECISIONS))}
    if masked.any():
        intersection, union = intersection[masked], union[masked]
        iou = intersection_over_union(intersection, union)
        values["mean_iou"] = float(iou.mean())
        values["overall_iou"] = float(intersection_over_union(intersection.sum(), union.sum()))
        values |= {f"precision_at_{percent}": float(np.mean(iou > percent / 100)) for percent in PRECISIONS}
    located = hit[~np.isnan(hit)]
    return values | {"localization_accuracy": float(located.mean()) if len(located) else None}


def _bootstrap(photo, intersection, union, hit, samples, seed):
    """Metrics of resampled photos: expressions of one photo are not independent, so whole photos are drawn."""
    rng = np.random.default_rng(seed)
    order = np.argsort(photo, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(photo))[:-1])
    results = []
    for _ in range(samples):
        chosen = np.concatenate([groups[index] for index in rng.integers(len(groups), size=len(groups))])
        metrics = _metrics(intersection[chosen], union[chosen], hit[chosen])
        results.append({name: np.nan if value is None else value for name, value in metrics.items()})
    return results
