"""Presets: weights alone, whole, of subclasses and refiners; and the trained model that commands take from them."""

import json
import shutil

import keras
import numpy as np
import pytest

from lts_keras import LTS
from lts_keras.config.errors import ConfigError
from lts_keras.config.read import parse_config
from lts_keras.evaluation.evaluate import evaluate
from lts_keras.export import export
from lts_keras.models.backbones import make_backbone
from lts_keras.models.refiner import Refiner
from lts_keras.models.trained import model_of_preset, trained_model, trained_options
from lts_keras.prediction.network import float32_twin
from lts_keras.weights import WeightsError
from tests.conftest import run_python
from tests.lts_keras.models.test_boxes import boxes, plain_three_maps
from tests.lts_keras.models.test_lts import batch, randomize, small


@keras.saving.register_keras_serializable(package="tests")
class DoubledMask(LTS):
    """A subclass with an argument and a layer of its own, which is built by its first call."""

    def __init__(self, *args, gain=2.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.gain = gain
        self.refinement = keras.layers.Conv2D(1, 3, padding="same", name="refinement")

    def segment(self, features, token_ids, image_index=None, training=None):
        outputs = super().segment(features, token_ids, image_index=image_index, training=training)
        return outputs | {"mask": self.gain * outputs["mask"] + self.refinement(outputs["mask"])}

    def get_config(self):
        return super().get_config() | {"gain": self.gain}


class Unregistered(LTS):
    """A subclass that Keras does not know."""


WORDS = ["the", "left", "dog", "red", "cup"]


def doubled(**arguments):
    model = DoubledMask(**boxes(vocabulary=WORDS, gain=3.0, threshold=0.5, **arguments))
    randomize(model, np.random.default_rng(1))
    return model


def answers(model):
    image, token_ids = batch(np.random.default_rng(2))
    return np.asarray(model({"image": image, "token_ids": token_ids})["mask"])


def test_a_preset_of_a_trained_model_holds_weights_alone(tmp_path):
    model = small(trainable_backbone="all", joint_dim=128, fusion_dim=64)
    model.save_to_preset(tmp_path / "before")
    model.compile()
    image, token_ids = batch(np.random.default_rng(3))
    truth = {"mask": np.zeros((3, 16, 16, 1)), "prior": np.zeros((3, 8, 8, 1))}
    model.fit({"image": image, "token_ids": token_ids}, truth, verbose=0)
    steps = int(model.optimizer.iterations.numpy())
    model.save_to_preset(tmp_path / "after")
    sizes = [(tmp_path / name / "model.weights.h5").stat().st_size for name in ("before", "after")]
    assert sizes[1] == sizes[0] < 1.5 * 4 * model.count_params() + 300_000
    assert sorted(path.name for path in (tmp_path / "after").iterdir()) == [
        "model.json",
        "model.weights.h5",
        "vocabulary.txt",
    ]
    assert "compile_config" not in json.loads((tmp_path / "after" / "model.json").read_text())
    # The model itself goes on with its optimizer.
    model.fit({"image": image, "token_ids": token_ids}, truth, verbose=0)
    assert model.optimizer.iterations.numpy() == steps + 1
    np.testing.assert_array_equal(answers(LTS.from_preset(tmp_path / "before")).shape, (3, 16, 16, 1))


def test_a_preset_needs_the_backbones_file_no_more(tmp_path):
    (tmp_path / "files").mkdir()
    plain_three_maps().save(tmp_path / "files" / "backbone.keras")
    model = LTS(**boxes(backbone=make_backbone(tmp_path / "files" / "backbone.keras")))
    expected = answers(model)
    model.save_to_preset(tmp_path / "preset")
    shutil.rmtree(tmp_path / "files")
    np.testing.assert_array_equal(answers(LTS.from_preset(tmp_path / "preset")), expected)


def test_a_subclass_comes_back_as_itself_with_its_own_layers(tmp_path):
    model = doubled()
    model.save_to_preset(tmp_path / "preset")  # before its first call
    expected = answers(model)
    model.save(tmp_path / "lts.keras")
    for loaded in (LTS.from_preset(tmp_path / "preset"), keras.saving.load_model(tmp_path / "lts.keras")):
        assert type(loaded) is DoubledMask and loaded.gain == 3.0
        np.testing.assert_array_equal(answers(loaded), expected)
    twin = float32_twin(doubled(dtype="mixed_bfloat16"))
    assert type(twin) is DoubledMask and twin.refinement.compute_dtype == "float32"


def test_a_class_that_is_not_registered_is_named(tmp_path):
    Unregistered(**boxes()).save_to_preset(tmp_path / "preset")
    with pytest.raises(WeightsError, match="the class Unregistered is not registered.*imports: ") as error:
        LTS.from_preset(tmp_path / "preset")
    assert "\n" not in str(error.value) and __name__ in str(error.value)


def test_a_box_that_is_not_registered_is_named(tmp_path):
    class OwnLocator(keras.layers.Layer):
        def call(self, fused, sentence):
            return fused[..., :1]

    LTS(**boxes(locator=OwnLocator())).save_to_preset(tmp_path / "preset")
    with pytest.raises(WeightsError, match="the class OwnLocator is not registered"):
        LTS.from_preset(tmp_path / "preset")


def test_a_refiner_has_presets_too(tmp_path):
    refiner = Refiner(channels=5, aspp_dim=4, aspp_rates=(1, 2))
    refiner.save_to_preset(tmp_path / "preset")
    inputs = {"features": np.ones((1, 4, 4, 5), "float32"), "prior": np.ones((1, 4, 4, 1), "float32")}
    np.testing.assert_array_equal(Refiner.from_preset(tmp_path / "preset")(inputs)["mask"], refiner(inputs)["mask"])
    with pytest.raises(WeightsError, match="the configuration of a Refiner and not of an LTS"):
        LTS.from_preset(tmp_path / "preset")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "not the configuration of a model"),
        ("{", "cannot be read, cut short"),
        ('{"config": {"gru_units": 4}}', "before boxes were injected"),
        ('{"module": "keras.layers", "class_name": "Dense", "config": {"units": 3}}', "of a Dense and not of an LTS"),
        ('{"module": "keras.layers", "class_name": "Dense", "config": {"unit": 3}}', "cannot be made"),
    ],
)
def test_a_damaged_configuration_is_one_line(tmp_path, text, message):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(WeightsError, match=f"model.json: .*{message}") as error:
        LTS.from_preset(tmp_path)
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def workdir(tiny_run, tmp_path_factory):
    """Work directory with the tiny run's data and the preset of a subclass."""
    folder = tmp_path_factory.mktemp("subclass")
    (folder / "data").symlink_to(tiny_run / "data")
    doubled().save_to_preset(folder / "train" / "preset")
    return folder


def test_a_subclass_is_evaluated_and_exported(workdir):
    options = {"evaluate": {"bootstrap_samples": 5, "threshold": 0.4}, "imports": [__name__]}
    options["export"] = {"batch_sizes": [1], "onnx": False}
    config = parse_config(options)
    metrics = evaluate(config, workdir)
    assert metrics["threshold"] == 0.4
    saved = {"image_size": 64, "image_resize": "letterbox", "max_tokens": 5, "threshold": 0.5}
    assert metrics["config"]["model"] == saved
    export(config, workdir, progress=lambda line: None)
    card = (workdir / "export" / "model_card.md").read_text()
    assert "| mask threshold | 0.4 |" in card
    assert LTS.from_preset(workdir / "train" / "preset").threshold == 0.5


def trained(folder, model=None, **options):
    """A preset as training leaves it, with the configuration beside the weights."""
    config = parse_config({"model": {"image_size": 64, "gru_units": 4, "trainable_backbone": "all"} | options})
    (model or small(threshold=config.model.threshold)).save_to_preset(folder / "train" / "preset")
    values = {"run": "x", "epoch": 1, "config": config.model_dump(mode="json")}
    (folder / "train" / "preset" / "training.json").write_text(json.dumps(values))
    return folder


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"threshold": 0.9},
            r"model\.threshold: .*trained with 0\.25.*evaluate\.threshold sets another\. Received: 0\.9",
        ),
        ({"image_size": 96}, r"model\.image_size: .*preset was trained with 64.*Received: 96"),
        ({"trainable_backbone": "none"}, r"model\.trainable_backbone: .*trained with all.*Received: none"),
        ({"aspp_rates": [1, 2]}, r"model\.aspp_rates: .*with \[6, 12, 18\].*Received: \[1, 2\]"),
        ({"fusion": False}, r"model\.fusion: .*with true.*Received: false"),
        ({"variant": "table4_transformer_refcoco"}, r"model\.locator: .*with filter.*Received: transformer"),
    ],
)
def test_keys_that_contradict_the_preset_are_refused(tmp_path, given, message):
    with pytest.raises(ConfigError, match=message) as error:
        trained_model(parse_config({"model": given}), trained(tmp_path))
    assert "\n" not in str(error.value)


def test_keys_that_are_the_presets_or_are_not_given_are_taken(tmp_path):
    trained(tmp_path)
    same = {"image_size": 64, "gru_units": 4, "trainable_backbone": "all", "threshold": 0.25, "variant": "refcoco"}
    for given in ({}, same):
        assert trained_model(parse_config({"model": given}), tmp_path).threshold == 0.25
    judged = trained_model(parse_config({"evaluate": {"threshold": 0.7}}), tmp_path)
    assert judged.threshold == judged.predictor().threshold == 0.7
    assert trained_options(tmp_path / "train" / "preset")["gru_units"] == 4


def test_a_preset_saved_by_hand_tells_what_the_model_itself_has(tmp_path):
    small().save_to_preset(tmp_path)
    model_of_preset(parse_config({"model": {"gru_units": 99, "image_size": 64}}), tmp_path)
    with pytest.raises(ConfigError, match=r"model\.image_size: .*64.*Received: 96"):
        model_of_preset(parse_config({"model": {"image_size": 96}}), tmp_path)
    (tmp_path / "training.json").write_text("{}")
    with pytest.raises(ConfigError, match="training.json: cannot be read"):
        model_of_preset(parse_config({}), tmp_path)


def test_a_preset_with_any_box_of_the_library_is_read_in_a_process_that_did_not_import_it(tmp_path):
    """Evaluation and prediction read presets without the module that makes variants."""
    small(locator="transformer").save_to_preset(tmp_path / "preset")
    code = "import sys; from lts_keras.models.lts import LTS; print(LTS.from_preset(sys.argv[1]).locator.name)"
    done = run_python("-c", code, tmp_path / "preset")
    assert done.returncode == 0 and done.stdout.strip() == "locator", done.stderr[-2000:]
