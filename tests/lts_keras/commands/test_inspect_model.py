import re

import keras
import numpy as np
import pytest

from lts_keras.commands import inspect_model
from lts_keras.config.errors import ConfigError
from lts_keras.config.read import parse_config
from lts_keras.weights import WeightsError


def small_config(**weights):
    sizes = {"embedding_dim": 3, "gru_units": 4, "joint_dim": 8, "fusion_dim": 4, "aspp_dim": 4}
    return parse_config({"model": {"backbone": "MobileNet", **sizes}, "weights": weights})


@pytest.fixture
def workdir(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "vocabulary.txt").write_text("dog\nxyzzy\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def glove(tmp_path):
    (tmp_path / "glove.txt").write_text("dog 1 2 3\ncat 4 5 6\n", encoding="utf-8")
    return tmp_path / "glove.txt"


def rows(text):
    """Rows of a printed table as `{first cell: [cells]}`, numbers without their commas."""
    lines = (re.split("[│┃]", line)[1:-1] for line in text.splitlines() if "│" in line)
    return {cells[0].strip(): [cell.strip().replace(",", "") for cell in cells[1:]] for cells in lines}


def test_model_table_counts_every_part(capsys, workdir):
    inspect_model.inspect_model(small_config(), workdir)
    table = rows(capsys.readouterr().out)
    assert list(table) == [*inspect_model.PARTS, "all"]
    columns = np.array([[int(cell) for cell in table[name][1:]] for name in table])
    np.testing.assert_array_equal(columns[:-1].sum(axis=0), columns[-1])
    np.testing.assert_array_equal(columns[:, 1] + columns[:, 2], columns[:, 0])
    words, dim, units = 4, 3, 4  # dog, xyzzy, padding, unknown
    assert columns[1, 0] == words * dim + 2 * 3 * units * (dim + units + 2)


def test_model_table_needs_no_prepared_data(capsys, glove):
    inspect_model.inspect_model(small_config(glove=str(glove)))
    assert int(rows(capsys.readouterr().out)["sentence_encoder"][1]) > 9000 * 3


def test_darknet_table_says_what_is_loaded_and_what_is_random(capsys, shared_data):
    inspect_model.inspect_weights(small_config(backbone=str(shared_data / "weights" / "darknet53.conv.26")))
    text = capsys.readouterr().out
    table = rows(text)
    assert table["stages_2"][:4] == ["17", "17", "0", "2929664"]
    assert table["extra"][:4] == ["6", "0", "6", "0"]
    assert table["all"][:4] == ["58", "26", "32", "3209824"]
    assert "Darknet 0.2.0" in text and "32 left random" in " ".join(text.split())


def test_keras_file_table_shows_its_maps(capsys, shared_data):
    inspect_model.inspect_weights(small_config(backbone=str(shared_data / "weights" / "yolox_nano_backbone.keras")))
    text = capsys.readouterr().out
    assert rows(text) == {"c3": ["8", "64"], "c4": ["16", "128"], "c5": ["32", "256"]} and "456,592" in text


def test_glove_table_shows_the_coverage(capsys, workdir, glove):
    inspect_model.inspect_glove(small_config(glove=str(glove)), workdir)
    text = capsys.readouterr().out
    assert rows(text)["found"] == ["1 (50.0%)"] and "Without a vector: xyzzy" in text
    inspect_model.inspect_glove(small_config(glove=str(glove)))
    assert "2 vectors" in " ".join(capsys.readouterr().out.split())


def test_what_cannot_be_shown_is_an_error(tmp_path):
    for show, key in (
        (inspect_model.inspect_weights, "weights.backbone"),
        (inspect_model.inspect_glove, "weights.glove"),
    ):
        with pytest.raises(ConfigError, match=f"{key} must name the file"):
            show(small_config())
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(WeightsError, match="0 bytes"):
        inspect_model.inspect_weights(small_config(backbone=str(tmp_path / "empty")))


def test_frozen_parameters_are_told_from_trainable_ones():
    layer = keras.layers.BatchNormalization()
    layer.build((None, 3))
    assert inspect_model.count_parameters(layer) == (12, 6)
    layer.trainable = False
    assert inspect_model.count_parameters(layer) == (12, 0)
