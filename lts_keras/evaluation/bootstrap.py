"""Intervals by bootstrap over photos, of one model's metrics and of the difference between two models.

Expressions of one photo are not independent, so whole photos are drawn. A metric is a ratio of sums, so a drawn world
needs the photos' sums and their products alone: all of them together are a few matrix products.

The interval is the symmetric studentised one (bootstrap-t): the value plus and minus its standard error, times the 95
% quantile of how many of *their own* standard errors the drawn worlds lie away, Student's at least. Quantiles of the
drawn values themselves, which are more common, are too narrow where few large objects decide a sum, as in
`overall_iou`; `benchmarks/bootstrap_coverage.py` compares both.

Reference:
 - Hall, "On symmetric bootstrap confidence intervals", Journal of the Royal Statistical Society B 50, 1988.
 - DiCiccio and Efron, "Bootstrap confidence intervals", Statistical Science 11, 1996, section 4.
"""

import itertools

import numpy as np
from scipy import stats

from lts_keras.evaluation.sums import metric_sums, ratios

__all__ = ["intervals", "paired_difference", "photo_sums", "studentized"]

_LEVEL = 0.95
_CHUNK_VALUES = 4_000_000
_LEAST_ERROR = 0.5
"""Share of the value's standard error that a drawn world's is taken to have at least: where a few photos decide, many
worlds have none of them, and no error at all."""


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
        float64 `(2, M)`, low and high within 0..1; NaN where there is no value. One photo tells nothing: 0 and 1.
    """
    found = studentized([photo_sums(photos, numerators, denominators)], samples, seed)
    return np.clip(np.stack([found["low"], found["high"]]), 0, 1)


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
    found = studentized([sums[:2], sums[2:]], samples, seed)
    first, second = (ratios(sums[place].sum(0), sums[place + 1].sum(0)) for place in (0, 2))
    return {
        "first": first,
        "second": second,
        "difference": found["value"],
        "low": np.clip(found["low"], -1, 1),
        "high": np.clip(found["high"], -1, 1),
        "better": found["above_zero"],
    }


def studentized(pairs, samples=1000, seed=0):
    """The symmetric studentised interval of a ratio of sums, or of the difference of two.

    With `a` and `b` the sums of photo p, R = sum(a) / sum(b) and B the mean of `b`, a photo moves R by
    (a - R b) / (B P); the standard error is the root of P / (P - 1) times the sum of these squares. A drawn world's own
    error is the same of its photos, from sums of the products of `a` and `b`.

    Args:
        pairs: list of one or two pairs of float64 `(P, M)`, numerators and denominators by photo; of two, the second
            ratio minus the first is judged.
        samples: int. Drawn worlds.
        seed: int.

    Returns:
        dict of float64 `(M,)`: `value`, `low`, `high`, not clipped to what is possible and infinite for one photo;
        `above_zero`, share of drawn worlds with a value above zero, those with zero counted half.
    """
    columns = [column for pair in pairs for column in pair]
    photos, one = len(columns[0]), np.ones((1, len(columns[0])))
    products = {
        (i, j): columns[i] * columns[j] for i, j in itertools.combinations_with_replacement(range(len(columns)), 2)
    }
    (value,), (error,) = _value_and_error(one, columns, products)
    drawn, away = [], []
    for weights in _weights(photos, samples, seed):
        values, errors = _value_and_error(weights, columns, products)
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.abs(values - value) / np.maximum(errors, _LEAST_ERROR * error)
        drawn.append(values)
        away.append(np.where(error > 0, distance, values * 0))
    drawn, away = np.concatenate(drawn), np.concatenate(away)
    half = _half_width(away, error, photos)
    with np.errstate(invalid="ignore"):
        counted = np.where(np.isnan(drawn), np.nan, (drawn > 0) + 0.5 * (drawn == 0))
    return {"value": value, "low": value - half, "high": value + half, "above_zero": _mean(counted)}


def _value_and_error(weights, columns, products):
    """Values and standard errors `(worlds, M)` of worlds that hold each photo so often, `weights` `(worlds, P)`."""
    photos, sums = weights.shape[1], [weights @ column for column in columns]
    values, factors = 0.0, []
    for place in range(0, len(columns), 2):
        ratio, sign = ratios(sums[place], sums[place + 1]), 1 if place == len(columns) - 2 else -1
        values = values + sign * ratio
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = np.where(sums[place + 1] > 0, sign / sums[place + 1], 0.0)
        factors += [factor, -factor * np.nan_to_num(ratio)]
    squares = sum(
        (1 if i == j else 2) * factors[i] * factors[j] * (weights @ product) for (i, j), product in products.items()
    )
    return values, np.sqrt(np.maximum(squares, 0) * photos / max(1, photos - 1))


def _weights(photos, samples, seed):
    """Yields how often each photo is drawn, float64 `(worlds, photos)`, in parts that bound the memory."""
    rng, left = np.random.default_rng(seed), samples
    step = max(1, _CHUNK_VALUES // photos)
    while left > 0:
        count = min(step, left)
        yield rng.multinomial(photos, np.full(photos, 1 / photos), size=count).astype("float64")
        left -= count


def _least_errors(photos):
    """How many standard errors the interval reaches if the photos' shares in a value were normal: Student's t."""
    return stats.t.ppf((1 + _LEVEL) / 2, photos - 1)


def _half_width(away, error, photos):
    """Half the interval `(M,)` from how far the worlds lie away `(worlds, M)`; NaN where nothing was counted."""
    half, counted = np.full(error.shape, np.nan), ~np.isnan(away).all(axis=0)
    if photos < 2:
        half[counted] = np.inf
    elif counted.any():
        # Where all photos agree there is no error, and rounding alone moves a world.
        furthest = np.maximum(np.nanquantile(away[:, counted], _LEVEL, axis=0), _least_errors(photos))
        half[counted] = np.where(error[counted] > 0, furthest * error[counted], 0.0)
    return half


def _mean(values):
    counted = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.nansum(values, axis=0) / np.where(counted.any(axis=0), counted.sum(axis=0), np.nan)
