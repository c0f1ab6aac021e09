import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from lts_keras.prediction.compare import FIELDS, TOLERANCES, Tolerance, compare_answers, expect_answers, read_answers
from lts_keras.prediction.presence import Presence
from tests.small_models import photo_bytes, small_model


@pytest.fixture(scope="module")
def asked():
    """What a small model says of one expression, as `Expected` and as a server would answer it."""
    predictor = small_model().predictor()
    (expected,) = expect_answers(predictor, photo_bytes(), ["the left dog"])
    answer = predictor(photo_bytes(), "the left dog")
    file = io.BytesIO()
    Image.fromarray(answer.mask.astype("uint8") * 255).save(file, "PNG")
    outputs = {name: np.array([getattr(answer, name)]) for name in ("score", "presence", "box", "point")}
    outputs |= {"size": np.array([answer.mask.shape]), "mask_png_bytes": np.array([file.getvalue()], object)}
    (found,) = read_answers(outputs)
    return found, expected


def test_the_same_answer_has_no_differences(asked):
    found, expected = asked
    assert set(found) == set(FIELDS)
    assert 0 < found["mask"].mean() < 1
    assert compare_answers(found, expected) == ([], 0)


def test_a_changed_value_of_each_field_is_found(asked):
    found, expected = asked
    mask = found["mask"].copy()
    mask[:9, :9] ^= True
    lowest = min(expected.points, key=expected.points.get)
    changed = {
        "mask": mask,
        "size": found["size"] + 1,
        "score": found["score"] + 0.001,
        "presence": found["presence"] - 0.001,
        "box": found["box"] + np.array([0, 0, 0, 1]),
        "point": np.array(lowest),
    }
    assert set(changed) == set(FIELDS)
    for name, value in changed.items():
        differences, _ = compare_answers(found | {name: value}, expected, fields=(name,))
        assert len(differences) == 1 and name in differences[0], name
        assert compare_answers(found | {name: value}, expected)[0], name
        others = tuple(field for field in FIELDS if field not in (name, "mask"))
        if name != "mask":
            assert compare_answers(found | {name: value}, expected, fields=others) == ([], 0), name
        without = {key: one for key, one in found.items() if key != name}
        assert compare_answers(without, expected)[0] == [f"no {name}"]


def test_a_mask_of_another_size_is_one_difference(asked):
    found, expected = asked
    differences, _ = compare_answers(found | {"mask": found["mask"].T}, expected)
    assert differences == ["mask of (80, 60) instead of (60, 80)"]


def test_a_pixel_at_the_threshold_may_fall_on_either_side(asked):
    found, expected = asked
    nearest = np.unravel_index(np.abs(expected.probabilities - expected.threshold).argmin(), expected.mask.shape)
    apart = abs(expected.probabilities[nearest] - expected.threshold)
    mask = found["mask"].copy()
    mask[nearest] ^= True
    for tolerance, differences in (
        (Tolerance(apart * 1.01, 1e-4), []),
        (Tolerance(apart * 0.99, 1e-4), ["1 pixels of the mask"]),
    ):
        assert compare_answers(found | {"mask": mask}, expected, ("mask",), tolerance) == (differences, 1)


def test_the_point_may_be_any_cell_that_is_as_high(asked):
    found, expected = asked
    best = tuple(found["point"].tolist())
    other = next(point for point in expected.points if point != best)
    tied = dataclasses.replace(expected, points=expected.points | {other: expected.points[best] - 1e-6})
    assert compare_answers(found | {"point": np.array(other)}, tied, ("point",)) == ([], 0)
    assert compare_answers(found | {"point": np.array([-1, 5])}, expected, ("point",))[0]


def test_a_mask_that_presence_empties_must_be_empty_and_one_at_the_limit_may(asked):
    found, expected = asked
    empty = {"mask": np.zeros_like(found["mask"]), "score": 0.0, "box": np.zeros(4, int)}
    absent = dataclasses.replace(expected, presence=0.3, presence_threshold=0.5)
    assert compare_answers(found | empty | {"presence": 0.3}, absent) == ([], 0)
    assert "mask" in compare_answers(found | {"presence": 0.3}, absent)[0][0]
    here = dataclasses.replace(expected, presence=0.7, presence_threshold=0.5)
    assert "mask" in compare_answers(found | empty | {"presence": 0.7}, here)[0][0]
    limit = dataclasses.replace(expected, presence=0.5, presence_threshold=0.5)
    for answer in (found, found | empty):
        assert compare_answers(answer | {"presence": 0.49999}, limit)[0] == []


def test_points_beside_the_photo_are_none(asked):
    """The grey of a letterbox has cells too; the graph leaves them out, and so must what it is compared with."""
    predictor = small_model().predictor()
    (expected,) = expect_answers(predictor, photo_bytes(20, 80), ["red"])
    assert len(expected.points) < (predictor.image_size // 8) ** 2
    assert predictor(photo_bytes(20, 80), "red").point in expected.points


def test_bfloat16_may_be_further_apart():
    assert TOLERANCES["bfloat16"].probability > TOLERANCES["float32"].probability


def test_presence_thresholds_come_from_the_model():
    model = small_model()
    model.presence = Presence(threshold=0.999999)
    (expected,) = expect_answers(model.predictor(), photo_bytes(), ["the dog"])
    assert expected.presence_threshold == 0.999999 and not expected.mask.any()
