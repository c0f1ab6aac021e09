from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lts_keras.commands.resolved import differences, format_differences, print_resolved
from lts_keras.config.read import load_config, parse_config

CONFIGS = sorted((Path(__file__).resolve().parents[3] / "configs").glob("*.yaml"))


def test_the_block_is_short_and_names_where_the_whole_lies(capsys):
    config = parse_config({"seed": 5, "model": {"image_size": 96}}, ["train.augment.flip=0.5"])
    print_resolved(config, "runs/mine/config.yaml")
    assert capsys.readouterr().out == (
        "# configuration, the whole in runs/mine/config.yaml: differs from the defaults in\n"
        "seed: 5\nmodel: {image_size: 96}\ntrain: {augment: {flip: 0.5}}\n"
    )
    print_resolved(parse_config({}), "there")
    assert capsys.readouterr().out == "# configuration, the whole in there: all defaults\n"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_what_is_shown_of_a_shipped_file_reads_back_to_all_of_it(path):
    config = load_config(path, ["weights.backbone=b.keras"])  # a few need one
    shown = format_differences(config)
    assert len(shown.splitlines()) < 40
    assert parse_config(yaml.safe_load(shown) or {}) == config


def test_a_source_keeps_its_kind_and_a_mapping_stands_whole():
    scenes = {"kind": "scenes", "num_photos": {"train": 1200}}
    config = parse_config({"data": {"sources": [scenes, {"kind": "manifest", "name": "m", "file": "f"}]}})
    assert differences(config)["data"]["sources"] == [
        {"kind": "scenes", "num_photos": {"train": 1200}},
        {"kind": "manifest", "name": "m", "file": "f"},
    ]


def test_a_default_that_wins_over_a_variant_is_shown():
    config = parse_config({"model": {"variant": "table4_transformer_refcoco", "locator": "filter"}})
    assert differences(config)["model"] == {"variant": "table4_transformer_refcoco", "locator": "filter"}
    assert parse_config(differences(config)) == config


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.floats(1e-12, 1e12), st.lists(st.integers(1, 99)))
def test_any_value_reads_back(name, rate, epochs):
    config = parse_config({"name": name, "train": {"learning_rate": rate, "decay_epochs": epochs}})
    assert parse_config(yaml.safe_load(format_differences(config)) or {}) == config
