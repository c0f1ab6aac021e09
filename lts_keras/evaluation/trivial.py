"""Answers that need no model: what a score must beat before it means anything."""

import numpy as np

from lts_keras.metrics import intersection_over_union

__all__ = ["TrivialAnswers", "place_of_words"]

BOX_SHARES = np.round(np.arange(0.3, 1.0, 0.1), 1)
"""Sides of the centred box that are tried, as shares of the photo's sides."""

_PLACES = {
    "left": (0.25, None),
    "leftmost": (0.25, None),
    "right": (0.75, None),
    "rightmost": (0.75, None),
    "top": (None, 0.25),
    "upper": (None, 0.25),
    "back": (None, 0.25),
    "bottom": (None, 0.75),
    "lower": (None, 0.75),
    "front": (None, 0.75),
}


def place_of_words(expression):
    """The point that the words left, right, top and bottom alone name.

    Args:
        expression: str.

    Returns:
        `(x, y)` as shares of the photo's width and height; the centre where no such word stands.
    """
    x = y = None
    for word in expression.lower().replace("-", " ").replace(",", " ").replace(".", " ").split():
        word_x, word_y = _PLACES.get(word, (None, None))
        x, y = x if word_x is None else word_x, y if word_y is None else word_y
    return 0.5 if x is None else x, 0.5 if y is None else y


class TrivialAnswers:
    """Scores of the whole image, of the best centred box and of the left/right/top/bottom rule.

    The box's size is chosen on the judged expressions themselves, which flatters it.
    """

    def __init__(self):
        self._whole, self._boxes = [], [[] for _ in BOX_SHARES]
        self._center, self._rule = [], []

    def add(self, expression, truth, truth_box, shape):
        """Adds one expression; arguments as `Scores.add`, `shape` is the photo's `(height, width)`."""
        self._center.append(_hits(truth, truth_box, shape, (0.5, 0.5)))
        self._rule.append(_hits(truth, truth_box, shape, place_of_words(expression)))
        if truth is None:
            return
        area = int(truth.sum())
        self._whole.append((area, truth.size))
        for share, pixels in zip(BOX_SHARES, self._boxes, strict=True):
            top, left = (round(side * (1 - share) / 2) for side in shape)
            inner = truth[top : shape[0] - top, left : shape[1] - left]
            common = int(inner.sum())
            pixels.append((common, area + inner.size - common))

    def result(self):
        """Returns answer name -> metric name -> float."""
        answers = {
            "whole_image": {"localization_accuracy": None},
            "centered_box": {"localization_accuracy": float(np.mean(self._center))},
            "left_right_rule": {"localization_accuracy": float(np.mean(self._rule))},
        }
        if self._whole:
            answers["whole_image"] |= _iou_metrics(self._whole)
            boxes = [
                _iou_metrics(pixels) | {"side": float(s)} for s, pixels in zip(BOX_SHARES, self._boxes, strict=True)
            ]
            answers["centered_box"] |= max(boxes, key=lambda metrics: metrics["mean_iou"])
        return answers


def _hits(truth, truth_box, shape, place):
    height, width = shape
    x, y = int(place[0] * width), int(place[1] * height)
    if truth is not None:
        return bool(truth[y, x])
    x0, y0, x1, y1 = truth_box
    return bool(x0 <= x + 0.5 < x1 and y0 <= y + 0.5 < y1)


def _iou_metrics(pixels):
    intersection, union = np.array(pixels, "float64").T
    iou = intersection_over_union(intersection, union)
    return {
        "mean_iou": float(iou.mean()),
        "overall_iou": float(intersection_over_union(intersection.sum(), union.sum())),
        "precision_at_50": float(np.mean(iou > 0.5)),
    }
