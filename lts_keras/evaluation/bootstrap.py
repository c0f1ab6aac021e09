"""Intervals by bootstrap over photos, of one model's metrics and of the difference between two models.

Expressions of one photo are not independent, so whole photos are drawn. A metric is a ratio of sums, so a drawn world
needs the photos' sums alone: all of them together are one matrix product.
"""

import numpy as np
from scipy import stats

from lts_keras.evaluation.sums import metric_sums, ratios

__all__ = ["intervals", "paired_difference", "photo_sums"]

_LEVEL = 0.95
_CHUNK_VALUES = 4_000_000


def photo_sums(photos, *columns):
    """Adds rows up by photo.

    Args:
        photos: sequence of N photo ids.
        columns: arrays `(N, M)`.

    Returns:
        List of float64 arrays `(P, M)`, one for each of `columns`, the photos in the order of their ids.
    """
    names, place = np.unique(np.asarray(photos), return_inverse=True)
    sums = []
    for values in columns:
        total = np.zeros((len(names), values.shape[1]))
        np.add.at(total, place, values)
        sums.append(total)
    return sums


def intervals(photos, numerators, denominators, samples=1000, seed=0):
    """95 % intervals of ratios of sums.

    Args:
        photos: sequence of N photo ids.
        numerators, denominators: float64 `(N, M)`, from `metric_sums`.
        samples: int. Drawn worlds.
        seed: int.

    Returns:
        float64 `(2, M)`, low and high; NaN where there is no value.
    """
    above, below = photo_sums(photos, numerators, denominators)
    drawn = [ratios(weights @ above, weights @ below) for weights in _weights(len(above), samples, seed)]
    return _quantiles(np.concatenate(drawn), len(above))


def paired_difference(rows, others, samples=1000, seed=0):
    """How much better the second of two models is, on the same expressions.

    The same photos are drawn for both, so what makes a photo hard for both does not widen the interval.

    Args:
        rows, others: lists of N rows of the two models, the same expression at the same place.
        samples: int. Drawn worlds.
        seed: int.

    Returns:
        dict of float64 `(M,)`, metrics in the order of `metric_sums`: `first` and `second` values, `difference` second
        minus first, `low` and `high` of its 95 % interval, `better`: the share of drawn worlds in which the second is
        better, equal ones counted half.

    Raises:
        ValueError: the lists are not of the same photos.
    """
    photos = [row["image_id"] for row in rows]
    if photos != [row["image_id"] for row in others]:
        raise ValueError("rows and others must hold the same expressions in the same order")
    sums = photo_sums(photos, *metric_sums(rows), *metric_sums(others))
    first, second = (ratios(sums[i].sum(0), sums[i + 1].sum(0)) for i in (0, 2))
    drawn = []
    for weights in _weights(len(sums[0]), samples, seed):
        above, below, other_above, other_below = (weights @ part for part in sums)
        drawn.append(ratios(other_above, other_below) - ratios(above, below))
    drawn = np.concatenate(drawn)
    low, high = _quantiles(drawn, len(sums[0]))
    counted = (~np.isnan(drawn)).sum(axis=0)
    wins = ((drawn > 0) + 0.5 * (drawn == 0)).sum(axis=0)
    better = np.where(counted > 0, wins / np.maximum(counted, 1), np.nan)
    return {"first": first, "second": second, "difference": second - first, "low": low, "high": high, "better": better}


def _weights(photos, samples, seed):
    """Yields how often each photo is drawn, float64 `(worlds, photos)`, in parts that bound the memory."""
    rng, left = np.random.default_rng(seed), samples
    step = max(1, _CHUNK_VALUES // photos)
    while left > 0:
        count = min(step, left)
        yield rng.multinomial(photos, np.full(photos, 1 / photos), size=count).astype("float64")
        left -= count


def _quantiles(drawn, photos):
    """Quantiles of drawn values, taken a little further out where there are few photos.

    Quantiles of a bootstrap are too near each other for small samples: its variance is (n - 1) / n of the unbiased one,
    and a normal's quantiles stand where a t distribution's should. Hesterberg's expanded percentiles mend both.

    Reference:
     - Hesterberg, "What teachers should know about the bootstrap", The American Statistician, 2015, section 5.
    """
    tail = (1 - _LEVEL) / 2
    if photos > 1:
        reach = np.sqrt(photos / (photos - 1)) * stats.t.ppf(tail, photos - 1)
        tail = max(float(stats.norm.cdf(reach)), 1 / (2 * len(drawn)))
    found = np.full((2, drawn.shape[1]), np.nan)
    counted = ~np.isnan(drawn).all(axis=0)
    if counted.any():
        found[:, counted] = np.nanquantile(drawn[:, counted], (tail, 1 - tail), axis=0)
    return found
