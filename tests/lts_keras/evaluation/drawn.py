"""Evaluations drawn at random, in the form in which `lts evaluate` leaves them, without a model."""

import json

import numpy as np
from pycocotools import mask as coco_mask

from lts_keras.evaluation.facts import SWEEP, Facts
from lts_keras.evaluation.scores import Scores
from lts_keras.evaluation.whose import FOUND

__all__ = ["drawn_rows", "write_evaluation"]

_CLASSES = ("man", "dog", "cup & <saucer>", *(f"class {number}" for number in range(40)))


def drawn_rows(count, seed=0, slices=("coco/val",), photos=None, **values):
    """Rows of predictions.json; every seventh expression has no target and every eleventh a box alone."""
    generator = np.random.default_rng(seed)
    empty = coco_mask.encode(np.zeros((2, 2), "uint8", order="F"))
    encoded = {"size": empty["size"], "counts": empty["counts"].decode()}
    rows = []
    for number in range(count):
        has_target, has_mask = number % 7 != 6, number % 11 != 10
        union = int(generator.integers(100, 1000))
        intersection = int(union * generator.beta(2, 1)) if has_target else 0
        rows.append(
            {
                "ref_id": str(number // 3),
                "expression": f"expression {number}",
                "image_id": f"photo {number % (photos or max(1, count // 7))}",
                "dataset": slices[number % len(slices)].split("/")[0],
                "split": slices[number % len(slices)].split("/")[1],
                "category": _CLASSES[min(int(generator.exponential(6)), len(_CLASSES) - 1)],
                "score": 0.5,
                "presence": float(generator.random()),
                "box": [0, 0, 1, 1],
                "point": [0, 0],
                "segmentation": encoded,
                "has_target": has_target,
                "intersection": intersection if has_mask else None,
                "union": union if has_mask else None,
                "iou": intersection / union if has_mask else None,
                "prior_hit": bool(generator.random() < 0.6) if has_target else None,
                "area": float(generator.random() ** 3) if has_target else 0.0,
                "rivals": int(generator.integers(0, 5)) if has_target else -1,
                "num_words": int(generator.integers(1, 14)),
                "unknown_words": int(generator.integers(0, 3)),
                "place_words": bool(generator.random() < 0.3),
                "found": str(generator.choice(list(FOUND))),
            }
            | values
        )
    return rows


def write_evaluation(folder, rows, samples=20, **metrics):
    """Writes metrics.json and predictions.json of rows; further values of metrics.json replace the usual ones."""
    scores, sweep = Scores({"all": ("coco", "refer")}), np.full((2, len(SWEEP)), 5, "int64")
    for row in rows:
        has_mask = row["union"] is not None
        centered = np.full((2, 7), 9, "int64") if has_mask else None
        facts = Facts((0.5, 0.5), 4000, 300 if has_mask else None, sweep if has_mask else None, centered, True, False)
        scores.add(row, facts)
    content = scores.result(samples) | {
        "threshold": 0.25,
        "model": {"kind": "preset", "precision": "float32", "image_size": 64},
        "config": {"seed": 3, "evaluate": {"bootstrap_samples": samples, "min_slice_size": 30, "groups": {}}},
        "code_version": "1+abc",
        "data_digest": "d" * 64,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(content | metrics))
    (folder / "predictions.json").write_text(json.dumps(rows))
    return folder
