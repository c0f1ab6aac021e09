"""What is answered to one expression."""

import dataclasses

import numpy as np

__all__ = ["Prediction"]


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The answer to one expression, in pixels of the photo as it is shown: turned upright by its EXIF orientation.

    Attributes:
        mask: bool array `(height, width)`.
        score: float, mean probability inside the mask, 0 for an empty one.
        presence: float in 0..1, how surely the photo has what the expression names, see `Presence`.
        box: `(x0, y0, x1, y1)` of the mask, exclusive at the far side, zeros for an empty one.
        point: `(x, y)`, where the prior is highest.
        prior: float32 array `(height, width)` of probabilities.
    """

    mask: np.ndarray
    score: float
    presence: float
    box: tuple[int, int, int, int]
    point: tuple[int, int]
    prior: np.ndarray
