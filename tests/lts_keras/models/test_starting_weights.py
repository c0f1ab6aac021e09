"""What training starts from: nothing frozen stays random without a word, and what got no weights is trained."""

import numpy as np
import pytest

from lts_keras.config.errors import ConfigError
from lts_keras.config.read import parse_config
from lts_keras.layers.darknet import convolutions, darknet53
from lts_keras.models.from_config import model_from_config
from lts_keras.weights import WeightsError
from tests.lts_keras.models.test_boxes import plain_three_maps

NARROW = {"embedding_dim": 3, "gru_units": 2, "joint_dim": 4, "fusion_dim": 2, "aspp_dim": 2, "image_size": 64}


def build(model=None, weights=None, **sections):
    """The model of a narrow configuration, and the lines that were said about it."""
    values = {"model": NARROW | (model or {}), "weights": weights or {}, **sections}
    lines = []
    return model_from_config(parse_config(values), ["red", "dog"], progress=lines.append), lines


@pytest.fixture
def darknet_weights(tmp_path):
    """Function that writes a file of so many convolutions with zeros in them; holes take no room."""

    def write(count, extra=0):
        shapes = [block.conv.kernel.shape for block in convolutions(FULL)]
        sizes = [4 * shape[3] + int(np.prod(shape)) for shape in shapes]
        path = tmp_path / f"darknet53.conv.{count}"
        path.write_bytes(np.array([0, 2, 0], "<i4").tobytes() + np.array([7], "<i8").tobytes())
        with path.open("r+b") as file:
            file.truncate(20 + 4 * (sum(sizes[:count]) + extra))
        return path

    return write


FULL = darknet53()


@pytest.mark.parametrize("trainable", ["last_two", "none"])
@pytest.mark.parametrize(
    ("backbone", "give"), [("darknet53", "a Darknet file such as darknet53.conv.74"), ("MobileNet", "a .keras file")]
)
def test_frozen_and_not_given_is_an_error_that_names_what_to_give(backbone, give, trainable):
    with pytest.raises(
        ConfigError, match=rf"weights\.backbone: .*{trainable} freezes {backbone}.*give {give}"
    ) as error:
        build({"backbone": backbone, "trainable_backbone": trainable})
    assert "weights.backbone: random" in str(error.value) and "\n" not in str(error.value)


def test_random_says_that_it_is_meant():
    model, lines = build({"backbone": "darknet_tiny"}, {"backbone": "random", "glove": "random"})
    assert len(model.backbone.trainable_variables) == 6
    trained = sum(int(np.prod(one.shape)) for one in model.backbone.trainable_variables)
    assert f"backbone: random, {trained:,} of {model.backbone.count_params():,} parameters trained" in lines
    assert "word vectors: random, trained" in lines


def test_all_trained_needs_no_weights_and_random_words_are_said():
    model, lines = build({"backbone": "darknet_tiny", "trainable_backbone": "all"})
    assert len(model.backbone.trainable_variables) == 3 * len(convolutions(model.backbone))
    assert "word vectors: random, trained; weights.glove names a GloVe file" in lines


def test_frozen_word_vectors_must_be_given(tmp_path):
    options = {"backbone": "darknet_tiny", "trainable_backbone": "all", "trainable_embedding": False}
    with pytest.raises(ConfigError, match=r"weights\.glove: model\.trainable_embedding: false.*give a GloVe text file"):
        build(options)
    model, lines = build(options, {"glove": "random"})
    assert model.sentence_encoder.embedding.trainable_variables == [] and "word vectors: random, frozen" in lines
    with pytest.raises(WeightsError, match="nowhere.txt: cannot read the word vectors"):
        build(options, {"glove": str(tmp_path / "nowhere.txt")})


def test_a_whole_file_is_frozen_as_configured_and_a_detectors_is_named(darknet_weights):
    model, lines = build(weights={"backbone": str(darknet_weights(58, extra=100))})
    assert [block.name for block in convolutions(model.backbone) if block.trainable] == ["extra_4", "extra_5"]
    assert any("has seen the photos of RefCOCO's val and test splits" in line for line in lines)
    assert len(model.backbone.trainable_variables) == 6


@pytest.mark.parametrize("trainable", ["last_two", "none"])
def test_what_the_file_does_not_hold_is_trained(darknet_weights, trainable):
    model, lines = build({"trainable_backbone": trainable}, {"backbone": str(darknet_weights(52))})
    trained = [block.name for block in convolutions(model.backbone) if block.trainable]
    assert trained == [f"extra_{index}" for index in range(6)]
    assert len(model.backbone.trainable_variables) == 3 * 6
    last = "extra_3" if trainable == "last_two" else "extra_5"
    expected = f"extra_0 to {last}: not in the file, so trained although model.trainable_backbone is {trainable}"
    assert expected in lines
    assert not any("RefCOCO" in line for line in lines)
    block = convolutions(model.backbone)[51]
    np.testing.assert_array_equal(block.conv.kernel, np.zeros(block.conv.kernel.shape))


def test_a_cache_of_maps_that_must_be_trained_is_refused(darknet_weights):
    arguments = {"trainable_backbone": "none"}, {"backbone": str(darknet_weights(52))}
    with pytest.raises(
        ConfigError, match=r"train\.cache_features: .*leaves 6 convolutions random \(extra_0 to extra_5"
    ):
        build(*arguments, train={"cache_features": True})
    build({"trainable_backbone": "none", "extra_convs": False}, arguments[1], train={"cache_features": True})


def test_a_backbone_from_a_file_has_the_precision_of_the_training(tmp_path):
    plain_three_maps().save(tmp_path / "backbone.keras")
    weights = {"backbone": str(tmp_path / "backbone.keras")}
    model, lines = build({"backbone": "file"}, weights, train={"precision": "mixed_bfloat16"})
    assert model.compute_dtype == model.fusion.compute_dtype == model.backbone.layers[-1].compute_dtype == "bfloat16"
    assert lines[0] == f"{weights['backbone']}: the backbone, {model.backbone.count_params():,} parameters"
    with pytest.raises(ConfigError, match="is a .keras model and needs model.backbone: file"):
        build({"backbone": "darknet_tiny"}, weights)


def test_synchronization_is_passed_on():
    options = {"backbone": "darknet_tiny", "trainable_backbone": "all"}
    model, _ = build(options, train={"synchronized_batch_norm": True})
    assert model.synchronized_batch_norm is True and model.fusion.c3_projection.norm.synchronized is True


def test_modules_of_ones_own_are_imported_and_a_missing_one_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "my_own_module.py").write_text("LOADED = True\n")
    (tmp_path / "my_broken_module.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    options = {"backbone": "darknet_tiny", "trainable_backbone": "all"}
    build(options, imports=["my_own_module"])
    with pytest.raises(ConfigError, match="imports: my_missing_module cannot be imported: ModuleNotFoundError"):
        build(options, imports=["my_missing_module"])
    with pytest.raises(ConfigError, match="imports: my_broken_module cannot be imported: ZeroDivisionError"):
        build(options, imports=["my_broken_module"])
