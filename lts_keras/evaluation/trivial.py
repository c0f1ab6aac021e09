"""Answers that need no model: what a score must beat before it means anything."""

import numpy as np

from lts_keras.evaluation.facts import BOX_SHARES
from lts_keras.metrics import intersection_over_union

__all__ = ["TrivialAnswers", "place_of_words"]

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
        self._whole, self._boxes = [], []
        self._center, self._rule = [], []

    def add(self, facts):
        """Adds one expression's `Facts`."""
        if facts.center_hit is not None:
            self._center.append(facts.center_hit)
            self._rule.append(facts.rule_hit)
        if facts.truth_pixels is not None:
            self._whole.append((facts.truth_pixels, facts.pixels))
            self._boxes.append(facts.centered)

    def result(self):
        """Returns answer name -> metric name -> float, `None` where nothing can be counted."""
        answers = {
            "whole_image": {"localization_accuracy": None},
            "centered_box": {"localization_accuracy": _mean(self._center)},
            "left_right_rule": {"localization_accuracy": _mean(self._rule)},
        }
        if self._whole:
            answers["whole_image"] |= _iou_metrics(np.array(self._whole).T)
            pairs = np.array(self._boxes)
            boxes = [_iou_metrics(pairs[:, :, place].T) | {"side": float(s)} for place, s in enumerate(BOX_SHARES)]
            answers["centered_box"] |= max(boxes, key=lambda metrics: metrics["mean_iou"])
        return answers


def _mean(values):
    return float(np.mean(values)) if values else None


def _iou_metrics(pixels):
    """Metrics of rows of intersections and unions, `(2, N)`."""
    intersection, union = np.asarray(pixels, "float64")
    iou = intersection_over_union(intersection, union)
    return {
        "mean_iou": float(iou.mean()),
        "overall_iou": float(intersection_over_union(intersection.sum(), union.sum())),
        "precision_at_50": float(np.mean(iou > 0.5)),
    }
