"""Whether what was exported or is served answers as the Keras model does: the one place where that is said."""

import dataclasses
import io

import numpy as np
import tensorflow as tf
from PIL import Image

from lts_keras.data.input.geometry import restore_points, restore_probabilities
from lts_keras.prediction.answer import shown_cells

__all__ = ["FIELDS", "TOLERANCES", "Expected", "Tolerance", "compare_answers", "expect_answers", "read_answers"]

FIELDS = ("mask", "size", "score", "presence", "box", "point")
"""All that is told about one expression."""


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """How far two answers may be apart.

    Attributes:
        probability: float, of the network's maps. A pixel whose probability is this near to the threshold may fall on
            either side, a cell this near to the highest may be the point.
        value: float, of score and presence.
    """

    probability: float
    value: float


TOLERANCES = {"float32": Tolerance(5e-5, 1e-4), "bfloat16": Tolerance(0.1, 0.1)}
"""By the precision of an export. In float32, sums run in another order at another batch size or with folded weights.
In bfloat16 this tells a wrong answer from a rounded one; how good the rounded ones are is measured on a whole split."""


@dataclasses.dataclass(frozen=True)
class Expected:
    """What the Keras model answers to one expression, and how sure each part of it is.

    Attributes:
        probabilities: float32 array `(height, width)`, of the mask, at the photo's size.
        threshold: float.
        presence: float.
        presence_threshold: float; below it the mask is empty. `None`: never.
        points: dict from each point `(x, y)` that can be told to the prior there.
        maps: float32 arrays, the network's own `mask` and `prior`.
    """

    probabilities: np.ndarray
    threshold: float
    presence: float
    presence_threshold: float | None
    points: dict
    maps: tuple

    @property
    def mask(self):
        """Bool array `(height, width)`."""
        if self.presence_threshold is not None and self.presence < self.presence_threshold:
            return np.zeros(self.probabilities.shape, bool)
        return self.probabilities > self.threshold


def expect_answers(predictor, image_bytes, expressions):
    """The Keras model's answers to expressions on one photo.

    Args:
        predictor: `Predictor`.
        image_bytes: bytes of a JPEG or PNG file.
        expressions: list of str.

    Returns:
        List of `Expected`.
    """
    pixels = predictor.read_pixels(image_bytes)
    masks, priors, size = predictor.segment(pixels, tf.constant(expressions))
    height, width = (int(side) for side in size)
    shape = (height, width, predictor.image_size)
    cells = priors.shape[1]
    places = np.stack(np.meshgrid(np.arange(cells), np.arange(cells)), axis=-1)
    points = restore_points(places, *shape, predictor.image_size // cells, predictor.image_resize).numpy()
    shown = shown_cells(cells, *shape, predictor.image_resize).numpy()
    found = []
    for mask, prior, answer in zip(masks, priors, predictor.answer_many(image_bytes, expressions), strict=True):
        values = {}
        for point, value in zip(points[shown].tolist(), prior.numpy()[shown][:, 0].tolist(), strict=True):
            values[tuple(point)] = max(value, values.get(tuple(point), 0.0))
        found.append(
            Expected(
                probabilities=restore_probabilities(mask, *shape, predictor.image_resize).numpy()[..., 0],
                threshold=predictor.threshold,
                presence=answer.presence,
                presence_threshold=predictor.presence.threshold,
                points=values,
                maps=(mask.numpy(), prior.numpy()),
            )
        )
    return found


def read_answers(outputs):
    """The rows of a served answer.

    Args:
        outputs: dict of arrays with a leading axis of rows, as a signature gives them.

    Returns:
        List of dicts with `FIELDS`, as far as they are there.
    """
    rows = []
    for row, png in enumerate(outputs["mask_png_bytes"]):
        answer = {name: values[row] for name, values in outputs.items() if name != "mask_png_bytes"}
        rows.append(answer | {"mask": np.asarray(Image.open(io.BytesIO(png))) > 0})
    return rows


def compare_answers(found, expected, fields=FIELDS, tolerance=TOLERANCES["float32"]):
    """Compares one answer field by field.

    Score and box are held against the mask that was found: one with other ties than expected has others, too.

    Args:
        found: dict, one of `read_answers`.
        expected: `Expected`.
        fields: those of `FIELDS` to look at.
        tolerance: `Tolerance`.

    Returns:
        `(differences, ties)`: list of str, empty where the answers are the same; int, pixels of the mask that differ
        within the tolerance.
    """
    differences = [f"no {name}" for name in fields if name not in found]
    fields = [name for name in fields if name in found]
    mask, ties = np.asarray(found.get("mask", expected.mask)), 0
    if mask.shape != expected.mask.shape:
        return [*differences, f"mask of {mask.shape} instead of {expected.mask.shape}"], 0
    if "mask" in fields:
        wrong, ties = _compare_masks(mask, expected, tolerance)
        differences += wrong
    if "size" in fields and tuple(found["size"]) != mask.shape:
        differences.append(f"size {_numbers(found['size'])} instead of {mask.shape}")
    if "score" in fields:
        score = float(expected.probabilities[mask].mean()) if mask.any() else 0.0
        differences += _compare_values("score", found["score"], score, tolerance)
    if "presence" in fields:
        differences += _compare_values("presence", found["presence"], expected.presence, tolerance)
    if "box" in fields and _numbers(found["box"]) != _bounds(mask):
        differences.append(f"box {_numbers(found['box'])} instead of {_bounds(mask)}")
    if "point" in fields:
        best = max(expected.points, key=expected.points.get)
        there = expected.points.get(_numbers(found["point"]), -np.inf)
        if there < expected.points[best] - tolerance.probability:
            differences.append(f"point {_numbers(found['point'])} instead of {best}")
    return differences, ties


def _compare_masks(mask, expected, tolerance):
    wanted, least = expected.mask, expected.presence_threshold
    if least is not None and abs(expected.presence - least) <= tolerance.value:
        # Whether anything is there is a tie itself.
        wanted = expected.probabilities > expected.threshold if mask.any() else mask
    near = np.abs(expected.probabilities - expected.threshold) <= tolerance.probability
    wrong = int(((mask != wanted) & ~near).sum())
    return ([f"{wrong} pixels of the mask"] if wrong else []), int((mask != expected.mask).sum())


def _compare_values(name, found, expected, tolerance):
    close = abs(float(found) - expected) <= tolerance.value
    return [] if close else [f"{name} {float(found):.6g} instead of {expected:.6g}"]


def _bounds(mask):
    """x0, y0, x1, y1 around a mask, exclusive at the far side; zeros around an empty one."""
    if not mask.any():
        return (0, 0, 0, 0)
    (rows,), (columns,) = np.nonzero(mask.any(axis=1)), np.nonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _numbers(values):
    return tuple(int(value) for value in values)
