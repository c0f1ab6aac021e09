import importlib
import json
import re
import shutil
import sys

import keras
import numpy as np
import pytest

from lts_keras.commands import cli
from lts_keras.config.read import parse_config
from lts_keras.data import text
from lts_keras.data.text import Tokenizer
from lts_keras.export.onnx import export_onnx
from lts_keras.export.saved_model import export_saved_model
from lts_keras.models.refiner import Refiner
from tests.conftest import run_python
from tests.lts_keras.commands.test_inspect_model import rows
from tests.small_models import WORDS, small_model


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder with one of each kind."""
    folder = tmp_path_factory.mktemp("shelf")
    model = small_model()
    model.save_to_preset(folder / "preset")
    model.save(folder / "model.keras")
    config = parse_config({"export": {"batch_sizes": [1, 2]}})
    export_saved_model(model, Tokenizer(model.vocabulary, model.max_tokens), folder / "saved", config.export)
    export_onnx(model, folder / "model.onnx")
    (folder / "words.txt").write_text("2 3\n[red] 1 -0.5 2e-3\n:dog: 4 5 6\n", encoding="utf-8")
    # A header and the first convolution of Darknet-53: four times 32 values, then 32 kernels of 3 x 3 x 3.
    values = np.random.default_rng(0).uniform(0.1, 1, 32 * (4 + 27)).astype("<f4")
    (folder / "net.weights").write_bytes(np.array([0, 2, 0, 7, 0], "<i4").tobytes() + values.tobytes())
    words = ["--workdir", str(folder / "work"), "data.sources=[{kind: scenes, num_photos: {train: 5, val: 2}}]"]
    (folder / "config.yaml").write_text("name: few\n")
    assert cli.main(["prepare", "--config", str(folder / "config.yaml"), *words]) == 0
    return folder


def inspect(path, capsys):
    capsys.readouterr()
    code = cli.main(["inspect", str(path)])
    told = capsys.readouterr()
    assert code == 0, told.err
    return told.out


def refusal(path, capsys):
    capsys.readouterr()
    assert cli.main(["inspect", str(path)]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1 and told.err.startswith("lts inspect: ")
    return told.err


def test_a_darknet_file(shelf, capsys):
    told = inspect(shelf / "net.weights", capsys)
    assert f"{shelf / 'net.weights'}: a Darknet weights file, 3.99 kB" in "".join(told.split("\n"))
    assert rows(told)["stem"][:4] == ["1", "1", "0", "992"] and rows(told)["all"][:3] == ["58", "1", "57"]


def test_a_glove_file(shelf, capsys):
    told = inspect(shelf / "words.txt", capsys)
    assert "a GloVe text file" in " ".join(told.split())
    assert rows(told) == {
        "words": ["2"],
        "numbers each": ["3"],
        "first words": ["[red] :dog:"],
        "[red]": ["1 -0.5 0.002"],
    }


@pytest.mark.parametrize("name", ["preset", "model.keras"])
def test_a_preset_and_a_keras_file_of_lts(name, shelf, capsys):
    told = inspect(shelf / name, capsys)
    table = rows(told)
    counts = np.array([[int(cell) for cell in cells[1:]] for key, cells in table.items() if len(cells) == 4])
    np.testing.assert_array_equal(counts[:-1].sum(axis=0), counts[-1])
    assert counts[-1][0] == small_model().count_params()
    assert table["locator"][0] == "RelevanceFilter" and table["class"] == ["lts_keras.models.lts.LTS"]
    assert (table["image size"], table["tokens"], table["threshold"]) == (["64 x 64 pixels"], ["6"], ["0.5"])
    assert f"vocabulary: {len(WORDS)} words: {' '.join(WORDS)}" in told


def test_a_class_of_ones_own_and_a_refiner(tmp_path, capsys, monkeypatch):
    (tmp_path / "own_lts.py").write_text(
        "import keras\nfrom lts_keras import LTS\n\n\n"
        "@keras.saving.register_keras_serializable('own')\nclass OwnLTS(LTS):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model = small_model()
    importlib.import_module("own_lts").OwnLTS.from_config(model.get_config()).save_to_preset(tmp_path / "own")
    Refiner(12, aspp_dim=4).save_to_preset(tmp_path / "refiner")
    # As in a new process.
    monkeypatch.delitem(sys.modules, "own_lts")
    keras.saving.get_custom_objects().pop("own>OwnLTS")
    assert "OwnLTS is not registered" in refusal(tmp_path / "own", capsys)
    assert cli.main(["inspect", str(tmp_path / "own"), "imports=[own_lts]"]) == 0
    assert rows(capsys.readouterr().out)["class"] == ["own_lts.OwnLTS"]
    assert cli.main(["inspect", str(tmp_path / "own"), "imports=[nowhere]"]) == 2
    assert "nowhere cannot be imported" in capsys.readouterr().err
    table = rows(inspect(tmp_path / "refiner", capsys))
    assert table["channels of the features"] == ["12"] and table["all"] == ["Refiner", *table["segmentation_head"][1:]]


def test_a_backbone_shows_its_maps_and_another_model_why_it_is_none(shelf, tmp_path, capsys, shared_data):
    told = inspect(shared_data / "weights" / "yolox_nano_backbone.keras", capsys)
    assert rows(told)["c4"] == ["16", "128"] and "456592" in rows(told)["parameters"][0]
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)], name="dense").save(tmp_path / "dense.keras")
    told = inspect(tmp_path / "dense.keras", capsys)
    assert rows(told)["parameters"] == ["15 (15 trainable)"] and rows(told)["output 0"] == ["float32 (None 3)"]
    assert "Cannot be a backbone: a backbone has one input" in " ".join(told.split())


def test_a_saved_model(shelf, capsys):
    told = inspect(shelf / "saved", capsys)
    table = [line.replace("│", "").split(None) for line in told.splitlines() if "│" in line]
    assert ["serving_default", "in", "expression", "string", "(?,)"] in table
    assert ["in", "token_ids", "int32", "(?,", "6)"] in table
    assert ["out", "mask", "float32", "(?,", "16,", "16,", "1)"] in table
    told = " ".join(told.split())
    assert "warm-up: 9 requests: serving_default with 1, 2 rows; segment_expressions with 1, 2 rows" in told
    numbers = int(re.search(r"variables: \d+, ([\d,]+) numbers", told).group(1).replace(",", ""))
    model = small_model()
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    folded = 3 * sum(layer.moving_mean.shape[0] for layer in norms)  # four numbers a channel become one bias
    assert 0 <= numbers - (model.count_params() - folded) < 10  # the states of seeds count as no parameters


def test_an_onnx_file_and_the_extra_that_it_needs(shelf, capsys, monkeypatch):
    told = inspect(shelf / "model.onnx", capsys)
    assert "ai.onnx 18" in told and "token_ids" in told and "64, 64, 3)" in told
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "the extra `onnx`: pip install lts-keras[onnx]" in refusal(shelf / "model.onnx", capsys)


def test_prepared_data_and_the_work_directory_around_it(shelf, capsys):
    told = inspect(shelf / "work", capsys)
    assert told == inspect(shelf / "work" / "data", capsys)
    manifest = json.loads((shelf / "work/data/manifest.json").read_text())
    for name, photos in (("scenes/train", 5), ("scenes/val", 2)):
        counts = [
            sum(s["slices"].get(name, {}).get(key, 0) for s in manifest["shards"]) for key in ("refs", "expressions")
        ]
        assert rows(told)[name] == [str(photos), *map(str, counts)] and min(counts) > 0
    words = text.read_vocabulary(shelf / "work/data/vocabulary.txt")
    assert "7 photos in 2 shards" in told and f"vocabulary: {len(words)} words: {words[0]} " in told


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("net.weights", "net.weights: cut short"),
        ("words.txt", "words.txt, line 3: a line has a word and 3 numbers"),
        ("preset/model.json", "model.json"),
        ("preset/model.weights.h5", "model.weights.h5"),
        ("model.keras", "model.keras: a .keras file that is cut short"),
        ("saved/saved_model.pb", "saved_model.pb: missing, cut short or damaged"),
        ("saved/variables/variables.index", "the variables cannot be read"),
        ("saved/variables/variables.data-00000-of-00001", "the variables cannot be read"),
        ("saved/assets.extra/tf_serving_warmup_requests", "requests: cut short or damaged"),
        ("model.onnx", "model.onnx: an ONNX file that is cut short"),
        ("work/data/manifest.json", "manifest.json: not a manifest"),
        ("work/data/train-00000-*.tfrecord", "tfrecord: missing or not as the manifest has it"),
    ],
)
def test_what_is_cut_short_is_one_line(path, told, shelf, tmp_path, capsys):
    name = path.partition("/")[0]
    (shutil.copytree if (shelf / name).is_dir() else shutil.copy)(shelf / name, tmp_path / name)
    (cut,) = tmp_path.glob(path)
    cut.write_bytes(cut.read_bytes()[:-3])
    assert told in refusal(tmp_path / name, capsys)
    if "assets.extra" not in path:  # warm-up requests may be missing
        cut.unlink()
        refusal(tmp_path / name, capsys)


def test_a_keras_file_with_damage_inside_is_one_line(shelf, tmp_path, capsys):
    content = bytearray((shelf / "model.keras").read_bytes())
    content[200:20000:7] = bytes(len(content[200:20000:7]))
    (tmp_path / "m.keras").write_bytes(content)
    assert "m.keras" in refusal(tmp_path / "m.keras", capsys)


def test_word_vectors_are_shown_without_tensorflow(shelf):
    code = "import sys; from lts_keras.commands import cli; print(cli.main(sys.argv[1:]), 'tensorflow' in sys.modules)"
    assert run_python("-c", code, "inspect", shelf / "words.txt").stdout.endswith("0 False\n")


@pytest.mark.parametrize(
    ("words", "received"),
    [
        ([], "Received: nothing"),
        (["weights"], "weights: cannot be read"),
        (["model", "--workdir", "w"], "Received: model --workdir"),
        (["p", "--config", "c", "--workdir", "w"], "Received: p --config --workdir"),
        (["model.image_size=3"], "Received: nothing"),
    ],
)
def test_neither_a_path_nor_the_form_by_configuration(words, received, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["inspect", *words]) == 2
    told = capsys.readouterr().err
    assert received in told and told.count("\n") == 1


def test_the_subject_may_stand_anywhere_and_a_path_may_have_an_equals_sign(tmp_path, capsys, tiny_config):
    words = ["--config", str(tiny_config), "--workdir", str(tmp_path / "w"), "weights"]
    assert cli.main(["inspect", *words]) == 2
    assert "weights.backbone must name" in capsys.readouterr().err
    (tmp_path / "a=b").write_text("the 1 2\n")
    assert "a GloVe text file" in " ".join(inspect(tmp_path / "a=b", capsys).split())
