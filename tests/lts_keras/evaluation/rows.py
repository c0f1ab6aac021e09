"""Rows and facts of expressions as an evaluation has them, made from masks in plain numpy."""

import numpy as np

from lts_keras.evaluation.facts import BOX_SHARES, SWEEP, Facts

__all__ = ["facts", "row"]


def row(mask, truth, box=None, **values):
    """A row with the counts of an answer, and values of one's own; an object with a box alone where `truth` is None."""
    mask = np.array(mask, bool)
    truth = None if truth is None else np.array(truth, bool)
    found = {
        "ref_id": "1",
        "expression": "dog",
        "image_id": "a",
        "dataset": "d",
        "split": "val",
        "category": "dog",
        "score": 0.5,
        "presence": 0.5,
        "box": [0, 0, 1, 1],
        "point": [0, 0],
        "has_target": True if truth is None else bool(truth.any()),
        "intersection": None if truth is None else int((mask & truth).sum()),
        "union": None if truth is None else int((mask | truth).sum()),
        "iou": None,
        "prior_hit": None,
        "area": 0.1 if truth is None else float(truth.mean()),
        "rivals": 0,
        "num_words": 1,
        "unknown_words": 0,
        "place_words": False,
        "found": "right",
    } | values
    x, y = found["point"]
    if truth is None:
        found["prior_hit"] = bool(box[0] <= x + 0.5 < box[2] and box[1] <= y + 0.5 < box[3])
    else:
        found["iou"] = found["intersection"] / found["union"] if found["union"] else 1.0
        if found["has_target"] and "prior_hit" not in values:
            found["prior_hit"] = bool(truth[y, x])
    return found


def facts(truth, center_hit=True, rule_hit=True):
    """Facts of a bool mask, of an answer that is the truth itself at every threshold."""
    truth = np.array(truth, bool)
    area, centered = int(truth.sum()), []
    for share in BOX_SHARES:
        box = np.zeros_like(truth)
        top, left = (round(side * (1 - share) / 2) for side in truth.shape)
        box[top : truth.shape[0] - top, left : truth.shape[1] - left] = True
        centered.append(((box & truth).sum(), (box | truth).sum()))
    sweep = np.full((2, len(SWEEP)), area, "int64")
    return Facts((0.9, 0.8), truth.size, area, sweep, np.array(centered).T, center_hit, rule_hit)
