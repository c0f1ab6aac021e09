"""Every row of the paper's tables has a name, and that name makes the model of its configuration."""

from pathlib import Path

import keras
import numpy as np
import pytest

from lts_keras.config.paper_rows import PAPER_ROWS
from lts_keras.config.read import load_config
from lts_keras.config.schema import ModelConfig
from lts_keras.layers.fusion import Fusion
from lts_keras.layers.locator import NoLocator
from lts_keras.layers.prior_upsampler import PriorUpsampler
from lts_keras.layers.relevance_filter import RelevanceFilter, SharedFilter, WordFilter
from lts_keras.layers.segmentation_head import SegmentationHead
from lts_keras.layers.transformer_locator import TransformerLocator
from lts_keras.models.backbones import make_backbone
from lts_keras.models.refiner import Refiner
from lts_keras.models.variants import lts_variant, make_lts
from tests.lts_keras.models.test_lts import batch

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
NARROW = {"embedding_dim": 6, "gru_units": 4, "joint_dim": 8, "fusion_dim": 4, "feed_forward_dim": 8, "aspp_dim": 4}


@pytest.mark.parametrize("name", PAPER_ROWS)
def test_a_row_is_its_configuration_and_nothing_else(name):
    model = load_config(CONFIGS / f"{name}.yaml").model
    assert model == ModelConfig(variant=name, **PAPER_ROWS[name])
    assert {key for key in model.model_fields_set if key != "variant"} == PAPER_ROWS[name].keys()


def test_names_are_those_of_the_files():
    files = {path.stem for path in CONFIGS.glob("*.yaml")}
    assert {name for name in files if name.startswith(("table", "refcoco"))} == set(PAPER_ROWS)


@pytest.mark.parametrize(
    ("name", "locator", "head", "use_sentence"),
    [
        ("refcoco", RelevanceFilter, SegmentationHead, True),
        ("table2_fusion", SharedFilter, PriorUpsampler, True),
        ("table2_filter", RelevanceFilter, PriorUpsampler, False),
        ("table2_fusion_filter", RelevanceFilter, PriorUpsampler, True),
        ("table2_fusion_segmentation", NoLocator, SegmentationHead, True),
        ("table2_filter_segmentation", RelevanceFilter, SegmentationHead, False),
        ("table4_transformer_refcocog_umd", TransformerLocator, SegmentationHead, True),
        ("table5_filters_2", RelevanceFilter, SegmentationHead, True),
        ("table5_word_filter", WordFilter, SegmentationHead, True),
        ("table7_refcoco", TransformerLocator, SegmentationHead, True),
    ],
)
def test_a_row_is_made_of_its_boxes(name, locator, head, use_sentence):
    model = lts_variant(name, vocabulary=["red", "dog"], backbone="darknet_tiny", **NARROW)
    assert (type(model.locator), type(model.segmentation_head)) == (locator, head)
    assert type(model.fusion) is Fusion and model.fusion.use_sentence is use_sentence
    row = PAPER_ROWS[name]
    assert model.max_tokens == row.get("max_tokens", 15) and model.image_size == row.get("image_size", 416)
    assert getattr(model.locator, "num_filters", 1) == row.get("num_filters", 1)
    image, _ = batch(np.random.default_rng(0))
    outputs = model({"image": image, "token_ids": np.ones((3, model.max_tokens), "int32")})
    assert outputs["mask"].shape == (3, 16, 16, 1) and outputs["prior"].shape == (3, 8, 8, 1)


def test_what_is_given_wins_over_the_row():
    model = lts_variant(
        "table7_refcoco", vocabulary=["a"], backbone="darknet_tiny", image_size=64, threshold=0.4, **NARROW
    )
    assert (model.image_size, model.threshold, model.locator.num_filters) == (64, 0.4, 2)
    half = lts_variant("refcoco", backbone="darknet_tiny", dtype="mixed_bfloat16", **NARROW)
    assert half.compute_dtype == half.backbone.layers[-1].compute_dtype == "bfloat16" and half.vocabulary_size == 9000


def test_a_backbone_that_is_given_trains_as_it_was_given():
    for trainable, count in (("all", 30), ("none", 0)):
        backbone = make_backbone("darknet_tiny", trainable=trainable)
        assert len(lts_variant("refcoco", backbone=backbone, **NARROW).backbone.trainable_variables) == count
        assert (
            len(make_lts(backbone=backbone, trainable_backbone="last_two", **NARROW).backbone.trainable_variables) == 6
        )
    assert len(make_lts(backbone="darknet_tiny", **NARROW).backbone.trainable_variables) == 6


def test_the_refiner_has_a_name_too():
    refiner = lts_variant("table3_refiner", aspp_dim=4)
    assert isinstance(refiner, Refiner) and (refiner.channels, refiner.aspp_dim) == (1000, 4)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("table5_filter_2", {}, "Received: 'table5_filter_2'; did you mean 'table5_filters_2'?"),
        ("", {}, "must be a row of the paper's tables. Received: ''"),
        ("refcoco", {"gru_unit": 3}, "unknown argument of a variant: 'gru_unit'; did you mean 'gru_units'?"),
        ("refcoco", {"locator": "magic", "backbone": "darknet_tiny"}, "locator must be one of .*Received: 'magic'"),
    ],
)
def test_an_unknown_name_or_argument_comes_with_the_nearest(name, arguments, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        lts_variant(name, **arguments)


def test_the_global_policy_is_taken_where_none_is_given():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = make_lts(backbone="darknet_tiny", **NARROW)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.fusion.compute_dtype == model.backbone.layers[-1].compute_dtype == "bfloat16"
