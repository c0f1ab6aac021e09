"""Whether a model's presence is a probability that can be relied on."""

import numpy as np

__all__ = ["reliability"]


def reliability(presence, right, bins=10):
    """Compares what a model is sure of with how often that is so.

    Args:
        presence: float array `(N,)` in 0..1.
        right: bool array `(N,)`: what presence claims is so.
        bins: int, of equal width.

    Returns:
        List of dicts, one for each bin: `low`, `high`, `count`, `presence` the mean of it there, `right` the share;
        both `None` in an empty bin. A well calibrated model has the two equal.
    """
    presence, right = np.asarray(presence, "float64"), np.asarray(right, bool)
    place = np.minimum((presence * bins).astype(int), bins - 1)
    table = []
    for number in range(bins):
        there = place == number
        count = int(there.sum())
        table.append(
            {
                "low": number / bins,
                "high": (number + 1) / bins,
                "count": count,
                "presence": float(presence[there].mean()) if count else None,
                "right": float(right[there].mean()) if count else None,
            }
        )
    return table
