"""Two models on the same expressions: differences with paired intervals, for each slice and part."""

import collections

import numpy as np

from lts_keras.config.errors import ConfigError
from lts_keras.evaluation.bootstrap import paired_difference
from lts_keras.evaluation.slices import parts_of
from lts_keras.evaluation.stored import row_key
from lts_keras.evaluation.sums import GRES_METRICS, METRICS

__all__ = ["compare", "count_intervals", "most_changed", "pair_rows"]

_LEVEL = 0.95


def compare(first, second, common=False, samples=1000, seed=0, min_slice_size=30):
    """Compares two evaluations.

    Args:
        first, second: `StoredEvaluation`; the first is the baseline.
        common: bool. Whether different data is allowed: what both judged is then compared.
        samples: int. Drawn worlds of the photos.
        seed: int.
        min_slice_size: int. Parts of fewer expressions are counted and not judged.

    Returns:
        Tuple `(result, pairs)`. `result`: dict of plain values: `num_expressions`, `num_photos`, `left_out` (two
        counts), `slices`: name -> metric -> `{"first", "second", "difference", "low", "high", "better"}` and counts,
        with the groups of the first one's configuration; `parts`: name -> dimension -> value -> the same and `judged`;
        `intervals`: see `count_intervals`. The difference is second minus first, `better` the probability that the
        second is better. `pairs`: list of `(row, row)`.

    Raises:
        ConfigError: other data where `common` is not given, or no expression that both judged.
    """
    pairs = _pairs_of(first, second, common)
    groups, slices, parts = first.settings.get("groups", {}), {}, {}
    members = collections.defaultdict(list)
    for pair in pairs:
        dataset = pair[0]["dataset"]
        for name in (f"{dataset}/{pair[0]['split']}", *(one for one, sets in groups.items() if dataset in sets)):
            members[name].append(pair)
    for name, ours in sorted(members.items()):
        slices[name] = _judge(ours, samples, seed)
        parts[name] = {
            dimension: {
                value: _judge_part([ours[number] for number in numbers], samples, seed, min_slice_size)
                for value, numbers in values.items()
            }
            for dimension, values in parts_of([row for row, _ in ours]).items()
        }
    result = {
        "num_expressions": len(pairs),
        "num_photos": len({row["image_id"] for row, _ in pairs}),
        "left_out": [len(one.rows) - len(pairs) for one in (first, second)],
        "slices": slices,
        "parts": parts,
    }
    return result | {"intervals": count_intervals(result)}, pairs


def pair_rows(rows, others):
    """Finds the rows of the same expression.

    Args:
        rows, others: lists of dicts of predictions.json.

    Returns:
        List of `(row, other)` in the order of `rows`. Rows are the same expression if data set, split, object, words
        and photo are; an object that has the same words twice is paired in order.
    """
    waiting = collections.defaultdict(collections.deque)
    for other in others:
        waiting[row_key(other), other["image_id"]].append(other)
    pairs = []
    for row in rows:
        found = waiting.get((row_key(row), row["image_id"]))
        if found:
            pairs.append((row, found.popleft()))
    return pairs


def count_intervals(result):
    """How many intervals there are, how many of them exclude zero, and how many would by chance alone.

    Args:
        result: dict with `slices` and `parts` as `compare` gives them.

    Returns:
        dict `count`, `exclude_zero` ints, `by_chance` float: what is expected where the two models are equally good.
    """
    judged = [*result["slices"].values()]
    judged += [one for values in result["parts"].values() for part in values.values() for one in part.values()]
    cells = [one[metric] for one in judged for metric in (*METRICS, *GRES_METRICS) if metric in one]
    # Where no drawn world tells the two apart, as where both are 0, nothing was compared.
    cells = [cell for cell in cells if cell["low"] != 0 or cell["high"] != 0]
    excluding = sum(cell["low"] > 0 or cell["high"] < 0 for cell in cells)
    return {"count": len(cells), "exclude_zero": excluding, "by_chance": (1 - _LEVEL) * len(cells)}


def most_changed(pairs, count):
    """The photos whose mean IoU changed most.

    Args:
        pairs: list of `(row, row)`.
        count: int, at most so many photos that gained and so many that lost.

    Returns:
        dict `gains`, `losses` -> list of dicts: `image_id`, `change` of the photo's mean IoU, `num_expressions` of it,
        `rows`: the pair of the expression that changed most in that direction; the largest change first.
    """
    photos = collections.defaultdict(list)
    for row, other in pairs:
        if row["iou"] is not None and other["iou"] is not None:
            photos[row["image_id"]].append((other["iou"] - row["iou"], row, other))
    changes = {photo: float(np.mean([one[0] for one in its])) for photo, its in photos.items()}
    found = {}
    for name, sign in (("gains", 1), ("losses", -1)):
        ranked = sorted(
            (one for one in changes if sign * changes[one] > 0), key=lambda one: (-sign * changes[one], one)
        )
        found[name] = [
            {
                "image_id": photo,
                "change": changes[photo],
                "num_expressions": len(photos[photo]),
                "rows": max(photos[photo], key=lambda one: sign * one[0])[1:],
            }
            for photo in ranked[:count]
        ]
    return found


def _pairs_of(first, second, common):
    digests = [str(one.metrics["data_digest"]) for one in (first, second)]
    if digests[0] != digests[1] and not common:
        raise ConfigError(
            f"{second.folder}: judged on other data (digest {digests[1][:12]}) than {first.folder} "
            f"({digests[0][:12]}); --common compares the expressions that both have"
        )
    pairs = pair_rows(first.rows, second.rows)
    if not pairs:
        raise ConfigError(f"{second.folder}: no expression in common with {first.folder}")
    return pairs


def _judge_part(pairs, samples, seed, min_slice_size):
    if len(pairs) < min_slice_size:
        return _counts(pairs) | {"judged": False}
    return _judge(pairs, samples, seed) | {"judged": True}


def _judge(pairs, samples, seed):
    rows, others = zip(*pairs, strict=True)
    found = paired_difference(list(rows), list(others), samples, seed)
    wanted = (*METRICS, *GRES_METRICS) if any(not row["has_target"] for row in rows) else METRICS
    names = (*METRICS, *GRES_METRICS)
    metrics = {
        name: {key: float(values[names.index(name)]) for key, values in found.items()}
        for name in wanted
        if not np.isnan(found["difference"][names.index(name)])
    }
    return metrics | _counts(pairs)


def _counts(pairs):
    return {"num_expressions": len(pairs), "num_photos": len({row["image_id"] for row, _ in pairs})}
