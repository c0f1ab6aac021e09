"""Answers of a real model in all their forms."""

import dataclasses
import io
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from serving.client.answers import Answer
from tests.small_models import photo_bytes


@pytest.fixture(scope="module")
def answer(server):
    from serving.client import Client

    with Client(f"127.0.0.1:{server.port}", timeout=30) as client:
        return client.segment(photo_bytes(), ["the left dog"])[0]


def test_every_form_shows_the_same_mask(answer, saved_models):
    expected = saved_models.first.predictor(photo_bytes(), "the left dog")
    np.testing.assert_array_equal(answer.mask, expected.mask)
    assert answer.mask.dtype == bool
    assert 0 < answer.mask.mean() < 1
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(answer.png))) > 0, answer.mask)
    np.testing.assert_array_equal(coco.decode(answer.rle()), answer.mask)
    filled = coco.decode(coco.merge(coco.frPyObjects(answer.polygon(), *answer.mask.shape))) > 0
    assert (filled | answer.mask).sum() == filled.sum()
    np.testing.assert_allclose([answer.score, answer.presence], [expected.score, expected.presence], atol=1e-5)
    assert (answer.box, answer.point, answer.version) == (expected.box, expected.point, 7)


def test_json_has_all_but_the_pixels(answer):
    read = json.loads(json.dumps(answer.to_json()))
    assert read["size"] == [60, 80]
    assert read["area"] == answer.mask.sum()
    assert read["rle"] == answer.rle()
    assert (read["score"], read["presence"], read["version"]) == (answer.score, answer.presence, 7)
    assert (tuple(read["box"]), tuple(read["point"])) == (answer.box, answer.point)


def test_it_can_be_printed_and_compared(answer):
    assert len(repr(answer)) < 300
    assert answer == answer
    assert answer != dataclasses.replace(answer)


GOOD = {
    "mask_png_bytes": None,
    "score": np.array([0.5], np.float32),
    "box": np.array([[0, 0, 2, 1]], np.int32),
    "point": np.array([[1, 0]], np.int32),
}


def outputs(**changes):
    file = io.BytesIO()
    Image.fromarray(np.array([[255, 0], [0, 255]], np.uint8)).save(file, "PNG")
    return GOOD | {"mask_png_bytes": np.array([file.getvalue()], object)} | changes


def test_a_model_without_presence_has_none():
    answer = Answer.from_outputs(outputs(), 0, 1)
    assert answer.presence is None
    assert answer.to_json()["presence"] is None
    assert answer.mask.tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask_png_bytes": np.array([b"junk"], object)}, "UnidentifiedImageError"),
        ({"mask_png_bytes": np.array([0.5])}, ""),
        ({"mask_png_bytes": np.zeros(0, object)}, "IndexError"),
        ({"point": np.zeros((0, 2), np.int32)}, "IndexError"),
    ],
)
def test_what_is_no_mask_is_refused(changes, message):
    with pytest.raises(ValueError, match=f"the model's answer is no mask: {message}"):
        Answer.from_outputs(outputs(**changes), 0, 1)


def test_a_missing_output_is_named():
    with pytest.raises(ValueError, match="no output 'score'"):
        Answer.from_outputs({name: value for name, value in outputs().items() if name != "score"}, 0, 1)
