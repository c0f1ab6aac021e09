"""One scene, stored in all eight ways, is one and the same sample: in training, validation and evaluation."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from lts_keras.data.input.evaluation_dataset import evaluation_dataset
from lts_keras.data.input.geometry import letterbox_image
from lts_keras.data.input.training_dataset import training_dataset
from lts_keras.data.input.validation_dataset import validation_dataset
from lts_keras.data.schema import Photo, ReferredObject
from lts_keras.evaluation.networks import ModelNetwork
from lts_keras.evaluation.rows import rows_and_facts
from tests.lts_keras.data.photos import write_photos
from tests.small_models import small_model
from tests.turned import CODES, KINDS, flat_scene, stored, turned_photo

SCENE = flat_scene(40, 72)
MASK = np.zeros((40, 72), bool)
MASK[4:20, 8:60] = True
SIZE = 64


def scene_photo(name, content, mask, orientation):
    height, width = mask.shape
    item = ReferredObject(name, "made", "train", ("the left dog",), mask, None)
    return Photo(f"made:{name}", content, height, width, (item,), orientation)


@pytest.fixture(scope="module")
def turned(tmp_path_factory):
    """Folder of records and tokenizer; photos whose masks lie in the upright frame."""
    folder = tmp_path_factory.mktemp("turned")
    photos = [
        scene_photo(f"{kind}-{code}", turned_photo(SCENE, code, kind), MASK, code) for kind in KINDS for code in CODES
    ]
    return folder, write_photos(folder, photos)


@pytest.mark.parametrize("dataset", [training_dataset, validation_dataset])
def test_training_and_validation_see_one_scene(turned, dataset):
    folder, tokenizer = turned
    batches = list(dataset(folder, tokenizer, split="train", image_size=SIZE, batch_size=16, num_workers=2))
    images = np.concatenate([x["image"] for x, _, _ in batches])
    masks = np.concatenate([np.reshape(y["mask"], (-1, SIZE // 4, SIZE // 4)) for _, y, _ in batches])
    assert images.shape == (16, SIZE, SIZE, 3)
    np.testing.assert_allclose(images[0], letterbox_image(SCENE, SIZE), atol=0.5 / 255 + 1e-6)
    assert 0 < masks[0].mean() < 1
    for number in range(1, 16):
        np.testing.assert_array_equal(images[number], images[0])
        np.testing.assert_array_equal(masks[number], masks[0])


def test_evaluation_answers_as_the_predictor_does_on_the_same_bytes(turned):
    model = small_model()
    found = {row["ref_id"]: row for row, _ in rows_and_facts(ModelNetwork(model), turned[0], ["train"])}
    expected = model.predictor()(turned_photo(SCENE, 1), "the left dog")
    assert len(found) == 16 and 0 < expected.mask.mean() < 1
    for one in found.values():
        mask = coco_mask.decode(one["segmentation"]) > 0
        np.testing.assert_array_equal(mask, expected.mask)
        assert (one["intersection"], one["union"]) == ((mask & (MASK > 0)).sum(), (mask | (MASK > 0)).sum())


def test_a_record_of_stored_pixels_is_read_in_them_whatever_the_photo_says(tmp_path):
    content = turned_photo(SCENE, 6)
    tokenizer = write_photos(tmp_path, [scene_photo("a", content, stored(MASK, 6), 1)], num_shards=1)
    ((x, y, _),) = training_dataset(tmp_path, tokenizer, split="train", image_size=SIZE, batch_size=1)
    np.testing.assert_allclose(x["image"][0], letterbox_image(stored(SCENE, 6), SIZE), atol=0.5 / 255 + 1e-6)
    (element,) = evaluation_dataset(tmp_path, tokenizer, splits=["train"], image_size=SIZE)
    np.testing.assert_array_equal(element["image"][0], letterbox_image(stored(SCENE, 6), SIZE))
    assert element["original_size"].numpy().tolist() == [[72, 40]]
    assert (y["mask"].numpy()[0, :, :, 0].sum(0) > 0).argmax() == 4, "the mask lies in the turned frame too"
