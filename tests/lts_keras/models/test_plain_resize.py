"""`image_resize="plain"` from the configuration to the served graph: every part stretches and restores alike."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from pycocotools import mask as coco_mask

from lts_keras import LTS
from lts_keras.config.errors import ConfigError
from lts_keras.config.read import parse_config
from lts_keras.config.schema import ExportConfig
from lts_keras.data.input.geometry import decode_image, letterbox_image, restore_probabilities
from lts_keras.data.input.training_dataset import training_dataset
from lts_keras.data.input.validation_dataset import validation_dataset
from lts_keras.data.prepare.records import find_shards, parse_record, read_records
from lts_keras.data.text import Tokenizer
from lts_keras.evaluation.networks import ModelNetwork
from lts_keras.evaluation.rows import rows_and_facts
from lts_keras.export.parity import check_saved_model
from lts_keras.export.saved_model import export_saved_model
from lts_keras.models.from_config import model_from_config
from tests.lts_keras.data.photos import make_photo, write_photos
from tests.small_models import photo_bytes, small_model


@pytest.fixture(scope="module")
def model():
    return small_model(image_resize="plain")


@pytest.fixture(scope="module")
def data(tmp_path_factory, model):
    """A folder of prepared photos, twice as wide as high and the other way round."""
    folder = tmp_path_factory.mktemp("plain")
    write_photos(folder, [make_photo(0, (40, 80)), make_photo(1, (90, 45))])
    return folder, Tokenizer(model.vocabulary, model.max_tokens)


def test_prediction_stretches_the_photo_and_brings_the_answer_back(model):
    photo = photo_bytes(30, 90)
    found = model.predictor()(photo, "the left dog")
    image = letterbox_image(decode_image(tf.constant(photo)), 64, "plain")[None]
    outputs = model({"image": image, "token_ids": Tokenizer(model.vocabulary, 6)(tf.constant(["the left dog"]))})
    probabilities = restore_probabilities(tf.sigmoid(outputs["mask"][0]), 30, 90, 64, "plain").numpy()[..., 0]
    sure = np.abs(probabilities - model.threshold) > 1e-4
    np.testing.assert_array_equal(found.mask[sure], (probabilities > model.threshold)[sure])
    assert sure.mean() > 0.99 and found.mask.shape == (30, 90)
    letterboxed = small_model().predictor()(photo, "the left dog")
    assert (letterboxed.mask != found.mask).any(), "the same weights see another picture"


def test_the_served_graph_answers_alike(model, tmp_path):
    export_saved_model(model, Tokenizer(model.vocabulary, 6), tmp_path / "saved", ExportConfig(batch_sizes=(1, 2)))
    samples = [(photo_bytes(30, 90), ["the left dog", "red"]), (photo_bytes(99, 21, seed=1), ["circle", "?"])]
    report = check_saved_model(tmp_path / "saved", model.predictor(), samples)
    assert report["expressions"] == 4 and report["pixels"] > 0


def test_evaluation_answers_alike(model, data):
    folder, _ = data
    records = [parse_record(one) for path in find_shards(folder) for one in read_records(path)]
    photos = {record["photo_id"].numpy().decode(): record["image_bytes"].numpy() for record in records}
    rows, predictor = [row for row, _ in rows_and_facts(ModelNetwork(model), folder, ["train"])], model.predictor()
    assert {row["image_id"] for row in rows} == photos.keys() and len(photos) == 2
    for row in rows:
        expected = predictor(photos[row["image_id"]], row["expression"])
        assert (coco_mask.decode(row["segmentation"]) != expected.mask).mean() < 0.01
        assert row["point"] == list(expected.point)


def test_training_and_validation_have_no_grey_border(data):
    folder, tokenizer = data
    options = {"split": "train", "image_size": 64, "batch_size": 1, "num_workers": 1}
    for resize in ("letterbox", "plain"):
        for dataset in (
            training_dataset(folder, tokenizer, sampling="per_image", image_resize=resize, **options),
            validation_dataset(folder, tokenizer, image_resize=resize, **options),
        ):
            for x, _, _ in dataset:
                image = x["image"].numpy()[0]
                border = [(line == 0.5).all() for line in (image[0], image[-1], image[:, 0], image[:, -1])]
                assert sum(border) == (2 if resize == "letterbox" else 0)


def test_it_is_kept_by_presets_and_keras_files_and_comes_from_the_configuration(model, tmp_path):
    model.save_to_preset(tmp_path / "preset")
    model.save(tmp_path / "model.keras")
    assert LTS.from_preset(tmp_path / "preset").image_resize == "plain"
    assert keras.saving.load_model(tmp_path / "model.keras").image_resize == "plain"
    sizes = {"embedding_dim": 3, "gru_units": 4, "joint_dim": 8, "fusion_dim": 4, "aspp_dim": 4}
    options = {"backbone": "darknet_tiny", "trainable_backbone": "all", "image_resize": "plain", **sizes}
    assert model_from_config(parse_config({"model": options}), ["dog"], str).image_resize == "plain"
    with pytest.raises(ConfigError, match="model.image_resize"):
        parse_config({}, ["model.image_resize=crop"])
    with pytest.raises(ValueError, match="image_resize must be one of letterbox, plain. Received: 'crop'"):
        small_model(image_resize="crop")
