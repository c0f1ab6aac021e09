from pathlib import Path

import hypothesis
import pydantic
import pytest
import yaml
from hypothesis import strategies as st

from lts_keras.config.errors import ConfigError
from lts_keras.config.read import dump_config, load_config, parse_config
from lts_keras.config.schema import Config


def write(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_the_papers_values():
    config = Config()
    assert (config.model.image_size, config.model.max_tokens, config.model.threshold) == (416, 15, 0.25)
    assert (config.train.epochs, config.train.batch_size, config.train.learning_rate) == (45, 18, 1e-3)
    assert (config.train.decay_epochs, config.train.location_weight) == ((30,), 0.1)
    assert (config.train.augment.flip, config.model.coordinates, config.train.ema) == (0, False, 0)


def test_a_file_holds_differences_and_overrides_win(tmp_path):
    path = write(tmp_path, "name: mine\ntrain: {epochs: 7, augment: {flip: 0.5}}\n")
    config = load_config(path, ["train.epochs=9", "train.augment.color=0.2", "weights.glove=glove.txt"])
    assert (config.name, config.train.epochs, config.train.batch_size) == ("mine", 9, 18)
    assert (config.train.augment.flip, config.train.augment.color) == (0.5, 0.2)
    assert config.weights.glove == Path("glove.txt")


def test_list_items_are_overridden_by_index(tmp_path):
    path = write(tmp_path, "data: {sources: [{kind: scenes}, {kind: scenes, name: other}]}")
    sources = load_config(path, ["data.sources.1.seed=5", "data.sources.0.num_photos.train=3"]).data.sources
    assert (sources[0].seed, sources[1].seed, sources[0].num_photos["train"]) == (0, 5, 3)


def test_an_empty_file_is_the_defaults(tmp_path):
    assert load_config(write(tmp_path, "")) == Config()


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("train: {epoch: 3}", [], r"unknown key 'train\.epoch'; did you mean 'epochs'\?"),
        ("modle: {}", [], "unknown key 'modle'; did you mean 'model'"),
        (
            "data: {sources: [{kind: scenes, seeds: 1}]}",
            [],
            r"unknown key 'data\.sources\.0\.seeds'; did you mean 'seed'",
        ),
        ("data: {sources: [{kind: video}]}", [], r"data\.sources\.0: .*'video'"),
        ("train: {epochs: many}", [], r"train\.epochs: .*Received: 'many'"),
        ("train: {epochs: 0}", [], r"train\.epochs: .*greater than 0.*Received: 0"),
        ("model: {image_size: 100}", [], r"model\.image_size: .*multiple of 32.*Received: 100"),
        ("train: 3", [], r"train: .*Received: 3"),
        ("train: {cache_features: true}", [], r"train\.cache_features needs model\.trainable_backbone: none"),
        (
            "model: {num_filters: 2, locator: word_filter}",
            [],
            r"model\.num_filters above 1 needs model\.locator: filter",
        ),
        ("model: {backbone: file}", [], r"model\.backbone: file needs weights\.backbone"),
        ("model: {fusion: false, locator: null}", [], "no sentence would enter"),
        (
            "model: {variant: table5_filter_2}",
            [],
            r"model\.variant must be a row .*Received: 'table5_filter_2'; did you mean 'table5_filters_2'\?",
        ),
        ("model: {variant: table2_fusion, fusion: false, segmentation: true}", [], "no sentence would enter"),
        ("weights: {backbone: 3}", [], r"weights\.backbone must be a path, random or null\. Received: 3"),
        ("model: {backbone: file}", ["weights.backbone=random"], r"needs weights\.backbone.*Received: random"),
        ("evaluate: {threshold: worst}", [], r"evaluate\.threshold must be a probability.*best.*Received: 'worst'"),
        ("evaluate: {threshold: 1.5}", [], r"evaluate\.threshold must be a probability.*Received: 1\.5"),
        ("evaluate: {threshold: best}", [], r"threshold: best needs evaluate\.calibration_split.*Received: null"),
        ("evaluate: {presence: true}", [], r"presence: true needs evaluate\.calibration_split.*Received: null"),
        ("evaluate: {calibration_split: val}", [], r"must not be judged.*evaluate\.splits.*Received: val"),
        ("imports: [my-package]", [], r"imports must name modules, such as my_package\.model\. Received: 'my-package'"),
        ("- a\n- b", [], "must hold `key: value` lines. Received: list"),
        ("a: [", [], "not YAML"),
        ("", ["train.epochs"], "has the form section.key=value. Received: 'train.epochs'"),
        ("", ["=3"], "has the form"),
        ("", ["train.epochs=[1"], "the value is not YAML"),
        ("name: x", ["name.first=y"], "name is a value, not a section"),
        ("data: {sources: [{kind: scenes}]}", ["data.sources.4.seed=1"], "'4' is not an index below 1"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_key(tmp_path, text, overrides, message):
    with pytest.raises(ConfigError, match=message) as error:
        load_config(write(tmp_path, text), overrides)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot read the configuration: No such file"):
        load_config(tmp_path / "nowhere.yaml")


def test_it_is_frozen():
    with pytest.raises(pydantic.ValidationError):
        Config().train.epochs = 3


def test_a_variant_stands_below_the_keys_that_are_given(tmp_path):
    path = write(tmp_path, "model: {variant: table7_refcocog_umd, image_size: 320}")
    model = load_config(path, ["model.num_filters=3"]).model
    assert (model.variant, model.locator, model.max_tokens) == ("table7_refcocog_umd", "transformer", 20)
    assert (model.image_size, model.num_filters, model.gru_units) == (320, 3, 512)
    # A given value wins also where it is the default.
    assert load_config(path, ["model.locator=filter"]).model.locator == "filter"


def test_random_weights_are_a_word_and_not_a_path():
    weights = parse_config({"weights": {"backbone": "random", "glove": "./random"}}).weights
    assert weights.backbone == "random" and weights.glove == Path("random")


OVERRIDES = {
    "model.variant": st.sampled_from([None, "refcocog_umd", "table2_fusion_filter", "table4_transformer_refcoco"]),
    "model.num_heads": st.integers(1, 8),
    "weights.glove": st.none() | st.just("random"),
    "evaluate.threshold": st.none() | st.floats(0.01, 0.99),
    "seed": st.integers(0, 2**31),
    "name": st.text(max_size=20) | st.just("\x85"),
    "data.root": st.just("../some/where"),
    "train.epochs": st.integers(1, 1000),
    "train.learning_rate": st.floats(1e-8, 10),
    "train.decay_epochs": st.lists(st.integers(1, 99), max_size=3),
    "train.augment.flip": st.floats(0, 1),
    "train.max_minutes": st.none() | st.floats(0.01, 1e4),
    "model.locator": st.sampled_from(["filter", "word_filter", "transformer", None]),
    "export.onnx": st.sampled_from(["whole", "halves", "both", False]),
}


@hypothesis.given(st.fixed_dictionaries({}, optional=OVERRIDES))
def test_the_resolved_form_reads_back_to_an_equal_one(values):
    config = parse_config({}, [f"{key}={yaml.safe_dump(value, width=10**6)}" for key, value in values.items()])
    assert parse_config(yaml.safe_load(dump_config(config))) == config
    for key, value in values.items():
        found = config
        for part in key.split("."):
            found = getattr(found, part)
        assert (list(found) if isinstance(found, tuple) else str(found) if key == "data.root" else found) == value


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[3].glob("configs/*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_file_loads_and_says_what_it_is(path):
    overrides = ["weights.backbone=given.keras"] if "backbone: file" in path.read_text() else []
    config = load_config(path, overrides)
    assert config.name == path.stem
    assert path.read_text().startswith("# ")
