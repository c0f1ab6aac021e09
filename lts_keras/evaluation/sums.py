"""Every metric as a ratio of two sums over expressions, for scores, intervals and comparisons alike."""

import numpy as np

from lts_keras.metrics import PRECISIONS, intersection_over_union

__all__ = ["GRES_METRICS", "MASK_METRICS", "METRICS", "metric_sums", "ratios"]

MASK_METRICS = ("mean_iou", "overall_iou", *(f"precision_at_{percent}" for percent in PRECISIONS))
METRICS = (*MASK_METRICS, "localization_accuracy")
GRES_METRICS = ("giou", "ciou", "n_acc", "t_acc")
"""gRefCOCO's, of slices with expressions that have no target."""


def metric_sums(rows):
    """What each expression adds to the numerator and the denominator of each metric.

    With I and U the intersection and union of answer and truth: `mean_iou` sums I / U over expressions (1 where both
    are empty), `overall_iou` I over U, `precision_at_X` counts I / U > X / 100; objects with a box alone leave these
    out. `localization_accuracy` counts points within their object; expressions without a target leave it out.
    gRefCOCO's metrics: `giou` sums I / U, where an expression without target counts 1 for an empty answer and else 0;
    `ciou` I over U, to which a wrong answer on no target adds its own area; `n_acc` counts empty answers where there is
    no target (TP / (TP + FN)), `t_acc` answers that are not empty where there is one (TN / (TN + FP)).

    Args:
        rows: list of N dicts, as `rows_and_facts` gives them and predictions.json holds them.

    Returns:
        Tuple `(numerators, denominators)`: float64 `(N, M)`, the M metrics of `METRICS` and `GRES_METRICS` in order.

    Reference:
     - Liu et al., "GRES: Generalized Referring Expression Segmentation", CVPR 2023, section 4; its gIoU and cIoU equal
       `mean_iou` and `overall_iou` as they are defined here.
    """

    def column(read):
        return np.array([read(row) for row in rows], "float64")

    has_mask = column(lambda row: row["union"] is not None)
    intersection = column(lambda row: row["intersection"] or 0)
    union = column(lambda row: row["union"] or 0)
    iou = intersection_over_union(intersection, union) * has_mask
    located = column(lambda row: row["prior_hit"] is not None)
    has_target = column(lambda row: row["has_target"])
    empty = column(lambda row: row["found"] == "nothing")
    pairs = [
        (iou, has_mask),
        (intersection, union),
        *(((iou > percent / 100) * has_mask, has_mask) for percent in PRECISIONS),
        (column(lambda row: bool(row["prior_hit"])), located),
        (iou, has_mask),
        (intersection, union),
        (empty * (1 - has_target), 1 - has_target),
        ((1 - empty) * has_target, has_target),
    ]
    numerators, denominators = (np.stack(side, axis=1) for side in zip(*pairs, strict=True))
    return numerators, denominators


def ratios(numerators, denominators, empty=1.0):
    """Divides sums by sums.

    Args:
        numerators, denominators: float64 arrays `(..., M)`, sums of what `metric_sums` gives, in its order.
        empty: float. The overall IoU where all masks, true and answered, are empty.

    Returns:
        float64 `(..., M)`; NaN where nothing was counted.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        values = numerators / denominators
    names = (*METRICS, *GRES_METRICS)
    for name, counted in (("overall_iou", "mean_iou"), ("ciou", "giou")):
        place, seen = names.index(name), denominators[..., names.index(counted)] > 0
        values[..., place] = np.where(seen & (denominators[..., place] == 0), empty, values[..., place])
    return values
