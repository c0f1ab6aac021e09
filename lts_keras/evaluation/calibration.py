"""The threshold of masks and the presence score, chosen on a split that is not judged."""

import dataclasses

import numpy as np
import scipy.optimize
import scipy.special

from lts_keras.data.prepare.records import read_manifest
from lts_keras.data.schema import DataError
from lts_keras.evaluation.facts import SWEEP
from lts_keras.evaluation.reliability import reliability
from lts_keras.evaluation.rows import rows_and_facts
from lts_keras.evaluation.scores import sweep_thresholds
from lts_keras.prediction.presence import LEAST, Presence

__all__ = ["calibrate", "choose_presence_threshold", "choose_threshold", "fit_presence"]

_PAPERS_THRESHOLD = 0.25
_PENALTY = 1e-3
"""Half of it times the squared weights is added to the mean loss: finite where one value tells all apart."""


def calibrate(network, data_dir, options, progress=print):
    """Chooses what `options` asks for on `options.calibration_split`, and gives it to the network.

    The presence comes first: where it says that nothing is there, the answer is empty at every threshold of masks.

    Args:
        network: `ModelNetwork`; its `threshold` and `presence` are set.
        data_dir: folder of prepared data.
        options: `EvaluateConfig`, with `threshold: best`, `presence: true`, or both.
        progress: function that takes a line of text.

    Returns:
        dict, what calibration.json holds of it: `split`; `threshold`, `None` if not asked for; `sweep`, the metrics at
        each threshold, `None` where no mask is known; `presence`, a dict or `None`; `reliability`, the table of
        presence against expressions that have a target; `image_size`.

    Raises:
        DataError: the split is not in the data, or has nothing to choose by.
    """
    split = options.calibration_split
    _check_split(data_dir, split)
    if split == "train":
        progress("evaluate.calibration_split: train: a model is surer of what it was trained on than of other photos")
    # Numbers alone are kept: a training split may hold hundreds of thousands of expressions.
    kept = [(row["has_target"], facts) for row, facts in rows_and_facts(network, data_dir, [split], options.batch_size)]
    if not kept:
        raise DataError(f"evaluate.calibration_split: {split} of {data_dir} has no expressions")
    has_target, facts = np.array([target for target, _ in kept], bool), [one for _, one in kept]
    highest = np.array([one.highest for one in facts], "float32")
    presence = network.presence
    if options.presence:
        presence = _calibrated(highest, has_target, split)
    sure = presence(*highest.T)
    empty = np.zeros(len(kept), bool) if presence.threshold is None else sure < presence.threshold
    sweep = _sweep(facts, empty)
    threshold = None
    if options.threshold == "best":
        if sweep is None:
            raise DataError(f"evaluate.threshold: best: no object of the split {split} has a mask to choose by")
        threshold = choose_threshold(sweep)
        network.threshold = threshold
    network.presence = presence
    chosen = [f"threshold {threshold:.2f}"] if threshold is not None else []
    if options.presence:
        accuracies = f"N-acc {empty[~has_target].mean():.3f}, T-acc {(~empty[has_target]).mean():.3f} there"
        chosen.append(f"nothing there below a presence of {presence.threshold:.3f} ({accuracies})")
    progress(f"chosen on {len(kept)} expressions of {split}: {', '.join(chosen)}")
    return {
        "split": split,
        "image_size": network.image_size,
        "threshold": threshold,
        "sweep": sweep,
        "presence": dataclasses.asdict(presence) if options.presence else None,
        "reliability": reliability(sure, has_target),
    }


def choose_threshold(sweep):
    """The threshold with the highest mean IoU; of equal ones the nearest to the paper's 0.25.

    Args:
        sweep: dict of lists with `thresholds` and `mean_iou`, as `sweep_thresholds` gives it.

    Returns:
        float.
    """
    thresholds, mean_iou = np.array(sweep["thresholds"]), np.array(sweep["mean_iou"])
    best = np.flatnonzero(mean_iou == mean_iou.max())
    return float(thresholds[best[np.argmin(np.abs(thresholds[best] - _PAPERS_THRESHOLD))]])


def fit_presence(mask, prior, has_target):
    """Fits the weights of `Presence` by logistic regression, with a slight penalty on their squares.

    Args:
        mask, prior: float arrays `(N,)`, the largest probability of mask and prior of each expression.
        has_target: bool array `(N,)`, at least one of each.

    Returns:
        `Presence` without a threshold.

    Raises:
        DataError: all expressions have a target, or none has.
    """
    has_target = np.asarray(has_target, bool)
    if has_target.all() or not has_target.any():
        found = "with" if has_target.any() else "without"
        raise DataError(
            f"presence needs expressions with and without a target. Found: {has_target.size}, all {found} one"
        )
    logits = [scipy.special.logit(np.clip(np.asarray(one, "float64"), LEAST, 1 - LEAST)) for one in (mask, prior)]
    features, sign = np.stack([np.ones(has_target.size), *logits], axis=1), np.where(has_target, 1.0, -1.0)
    penalty = _PENALTY * np.array([0.0, 1.0, 1.0])

    def loss(weights):
        margin = sign * (features @ weights)
        slope = -sign * scipy.special.expit(-margin) @ features / len(sign)
        value = -scipy.special.log_expit(margin).mean() + 0.5 * (penalty * weights**2).sum()
        return value, slope + penalty * weights

    found = scipy.optimize.minimize(loss, np.zeros(3), jac=True, method="L-BFGS-B", options={"ftol": 0, "gtol": 1e-8})
    return Presence(*map(float, found.x))


def choose_presence_threshold(presence, has_target):
    """The presence below which an answer should be that nothing is there.

    Args:
        presence: float array `(N,)` in 0..1.
        has_target: bool array `(N,)`, at least one of each.

    Returns:
        float: where the mean of the two accuracies (empty where there is no target, not empty where there is one) is
        highest, half way between the two presences beside it; of equal ones the nearest to 0.5.
    """
    presence, has_target = np.asarray(presence, "float64"), np.asarray(has_target, bool)
    values = np.unique(presence)
    cuts = np.concatenate([[values[0] / 2], (values[1:] + values[:-1]) / 2, [(values[-1] + 1) / 2]])
    with_target, without = np.sort(presence[has_target]), np.sort(presence[~has_target])
    kept = 1 - np.searchsorted(with_target, cuts) / len(with_target)
    emptied = np.searchsorted(without, cuts) / len(without)
    accuracy = (kept + emptied) / 2
    best = cuts[accuracy >= accuracy.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - 0.5))])


def _calibrated(highest, has_target, split):
    try:
        presence = fit_presence(*highest.T, has_target)
    except DataError as error:
        raise DataError(f"evaluate.calibration_split: {split}: {error}") from None
    # What the graph computes, rounded as there, is what the threshold is held against.
    threshold = choose_presence_threshold(presence(*highest.T), has_target)
    return dataclasses.replace(presence, threshold=threshold)


def _sweep(facts, empty):
    """Metrics at each threshold, with answers that are empty whatever it is; `None` without any mask."""
    sweeps = []
    for one, nothing in zip(facts, empty, strict=True):
        if one.sweep is not None:
            none = np.stack([np.zeros(len(SWEEP), "int64"), np.full(len(SWEEP), one.truth_pixels)])
            sweeps.append(none if nothing else one.sweep)
    return sweep_thresholds(sweeps) if sweeps else None


def _check_split(data_dir, split):
    shards = read_manifest(data_dir)["shards"]
    known = sorted({name for shard in shards for name in shard["splits"]})
    if split not in known:
        raise DataError(f"evaluate.calibration_split: {split}: {data_dir} has no such split. Found: {known}")
