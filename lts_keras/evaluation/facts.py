"""What the pixels of one judged expression say, in numbers: what scores are made of."""

import dataclasses

import numpy as np

__all__ = ["BOX_SHARES", "SWEEP", "Facts"]

SWEEP = np.round(np.arange(0.02, 0.99, 0.02), 2)
"""Thresholds of the sweep."""

BOX_SHARES = np.round(np.arange(0.3, 1.0, 0.1), 1)
"""Sides of the centred boxes that are tried as trivial answers, as shares of the photo's sides."""


@dataclasses.dataclass(frozen=True)
class Facts:
    """Pixel counts of one expression at the photo's own size.

    Attributes:
        highest: the largest probability of the mask and of the prior within the photo, what `Presence` is made from.
        pixels: int, of the photo.
        truth_pixels: int, of the true mask; `None` for an object with a box alone.
        sweep: int64 array `(2, len(SWEEP))`, intersection and union of answer and truth at each threshold; `None`
            without a true mask.
        centered: int64 array `(2, len(BOX_SHARES))`, intersection and union of each centred box and the truth; `None`
            without a true mask.
        center_hit: whether the photo's centre lies inside the truth; `None` where there is no target.
        rule_hit: the same of the point that left, right, top and bottom name, see `trivial.place_of_words`.
    """

    highest: tuple[float, float]
    pixels: int
    truth_pixels: int | None
    sweep: np.ndarray | None
    centered: np.ndarray | None
    center_hit: bool | None
    rule_hit: bool | None
