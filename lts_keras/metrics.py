"""Metrics: never a bare "IoU".

The Keras metrics here judge logits at the model's own size, while training. Scores to report come from
`lts_keras.evaluation.evaluate`, at the photos' original size; both use `intersection_over_union`.
"""

import keras
import numpy as np
from keras import ops

__all__ = ["LocalizationAccuracy", "MeanIoU", "OverallIoU", "PrecisionAt", "intersection_over_union", "lts_metrics"]

PRECISIONS = (50, 60, 70, 80, 90)
"""Percent; `precision_at_50` is the share of expressions with an IoU strictly greater than 0.5."""


def intersection_over_union(intersection, union):
    """IoU from pixel counts; 1.0 where both masks are empty.

    Args:
        intersection: number or array.
        union: number or array of the same shape.

    Returns:
        Float64 array of the same shape.
    """
    intersection, union = np.asarray(intersection, "float64"), np.asarray(union, "float64")
    return np.where(union > 0, intersection / np.maximum(union, 1), 1.0)


def _overlaps(y_true, y_pred, threshold):
    """Pixel counts of intersection and union per expression, flattened to one axis; from logits."""
    # sigmoid(z) > t where z > log(t / (1 - t)).
    predicted = ops.cast(ops.cast(y_pred, "float32") > float(np.log(threshold / (1 - threshold))), "float32")
    true = ops.cast(ops.cast(y_true, "float32") > 0.5, "float32")
    axes = (-3, -2, -1)
    intersection = ops.sum(predicted * true, axis=axes)
    union = ops.sum(predicted, axis=axes) + ops.sum(true, axis=axes) - intersection
    return ops.reshape(intersection, (-1,)), ops.reshape(union, (-1,))


def _weights(sample_weight, like):
    if sample_weight is None:
        return ops.ones_like(like)
    return ops.reshape(ops.cast(sample_weight, "float32"), (-1,))


class _Ratio(keras.metrics.Metric):
    """A sum divided by a sum, both kept over the batches."""

    def __init__(self, name, **kwargs):
        super().__init__(name=name, **kwargs)
        self.numerator = self.add_weight(name="numerator", initializer="zeros")
        self.denominator = self.add_weight(name="denominator", initializer="zeros")

    def _add(self, numerator, denominator):
        self.numerator.assign_add(ops.sum(numerator))
        self.denominator.assign_add(ops.sum(denominator))

    def result(self):
        """The ratio so far; 0 before the first expression."""
        return self.numerator / ops.maximum(self.denominator, 1e-7)


class _ThresholdRatio(_Ratio):
    """A ratio over masks made from logits at a probability threshold."""

    def __init__(self, threshold=0.25, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        self.threshold = threshold

    def get_config(self):
        return super().get_config() | {"threshold": self.threshold}


@keras.saving.register_keras_serializable(package="lts_keras")
class MeanIoU(_ThresholdRatio):
    """Mean over expressions of each one's IoU; empty against empty counts 1.

    Args:
        threshold: float. Mask probability. Defaults to `0.25`.

    Call arguments:
        y_true: 0 and 1, `(batch, height, width, 1)` or `(batch, K, height, width, 1)`.
        y_pred: logits of the same shape.
        sample_weight: optional, `(batch,)` or `(batch, K)`.
    """

    def __init__(self, threshold=0.25, name="mean_iou", **kwargs):
        super().__init__(threshold, name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch."""
        iou, weights = self._iou(y_true, y_pred, sample_weight)
        self._add(iou * weights, weights)

    def _iou(self, y_true, y_pred, sample_weight):
        intersection, union = _overlaps(y_true, y_pred, self.threshold)
        iou = ops.where(union > 0, intersection / ops.maximum(union, 1), ops.ones_like(union))
        return iou, _weights(sample_weight, iou)


@keras.saving.register_keras_serializable(package="lts_keras")
class OverallIoU(_ThresholdRatio):
    """Intersections summed over all expressions, divided by the summed unions; arguments as `MeanIoU`."""

    def __init__(self, threshold=0.25, name="overall_iou", **kwargs):
        super().__init__(threshold, name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch."""
        intersection, union = _overlaps(y_true, y_pred, self.threshold)
        weights = _weights(sample_weight, union)
        self._add(intersection * weights, union * weights)


@keras.saving.register_keras_serializable(package="lts_keras")
class PrecisionAt(MeanIoU):
    """Share of expressions whose IoU is strictly greater than `percent` / 100; other arguments as `MeanIoU`.

    Args:
        percent: int. For example `50`.
        threshold: float. Mask probability. Defaults to `0.25`.
    """

    def __init__(self, percent=50, threshold=0.25, name=None, **kwargs):
        super().__init__(threshold, name=name or f"precision_at_{percent}", **kwargs)
        self.percent = percent

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch."""
        iou, weights = self._iou(y_true, y_pred, sample_weight)
        self._add(ops.cast(iou > self.percent / 100, "float32") * weights, weights)

    def get_config(self):
        return super().get_config() | {"percent": self.percent}


@keras.saving.register_keras_serializable(package="lts_keras")
class LocalizationAccuracy(_Ratio):
    """Share of expressions where the maximum of the prior lies inside the ground truth; arguments as `MeanIoU`.

    The paper reports 81.74 % on RefCOCO val, section 4.3.
    """

    def __init__(self, name="localization_accuracy", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch."""
        height, width, _ = ops.shape(y_pred)[-3:]
        best = ops.argmax(ops.reshape(y_pred, (-1, height * width)), axis=-1)
        true = ops.reshape(ops.cast(y_true, "float32"), (-1, height * width))
        hit = ops.take_along_axis(true, best[:, None], axis=1)[:, 0]
        weights = _weights(sample_weight, hit)
        self._add(hit * weights, weights)


def lts_metrics(threshold=0.25):
    """Argument `weighted_metrics` of `compile`: all metrics, on the outputs that they judge."""
    return {
        "mask": [MeanIoU(threshold), OverallIoU(threshold), PrecisionAt(50, threshold)],
        "prior": [LocalizationAccuracy()],
    }
