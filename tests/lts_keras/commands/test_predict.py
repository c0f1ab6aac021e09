import re

import pytest
from PIL import Image

from lts_keras.commands import cli
from lts_keras.commands.predict import predict_to_file
from lts_keras.config.read import parse_config
from tests.conftest import run_python
from tests.small_models import photo_bytes, small_model
from tests.turned import flat_scene, turned_photo


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder with a preset, a work directory around another, and a photo of 80 x 60 pixels."""
    folder = tmp_path_factory.mktemp("predict")
    small_model().save_to_preset(folder / "preset")
    small_model().save_to_preset(folder / "work" / "train" / "preset")
    (folder / "photo.jpg").write_bytes(photo_bytes(60, 80))
    return folder


def predict(shelf, *words):
    return cli.main(["predict", "--image", str(shelf / "photo.jpg"), *map(str, words)])


def test_predict_to_file_writes_the_overlay_and_says_what_it_found(shelf, tmp_path, capsys):
    found = predict_to_file(
        parse_config({}), shelf / "preset", shelf / "photo.jpg", ["the dog", "red"], tmp_path / "overlay.png"
    )
    with Image.open(tmp_path / "overlay.png") as picture:
        assert len(found) == 2 and picture.size == (80, 60)
    assert "'the dog': score" in capsys.readouterr().out


def test_a_preset_needs_neither_configuration_nor_work_directory(shelf, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--expression", "the dog", "--expression", "red", "--output", "answer.png"]
    assert predict(shelf, "--preset", shelf / "preset", *words) == 0
    told = capsys.readouterr().out
    assert re.search(r"^'the dog': score 0\.\d+, presence 0\.\d+, box .*\n'red': score", told, re.M)
    assert len(told.splitlines()) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["answer.png"]


def test_the_form_by_configuration_answers_the_same(shelf, tmp_path, tiny_config, capsys):
    words = ["--expression", "the dog", "--output", tmp_path / "answer.png"]
    assert predict(shelf, "--preset", shelf / "preset", *words) == 0
    by_preset = capsys.readouterr().out
    assert predict(shelf, "--config", tiny_config, "--workdir", shelf / "work", *words) == 0
    answer = [line for line in capsys.readouterr().out.splitlines() if line.startswith("'the dog'")]
    assert answer and answer[0] in by_preset


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "give --preset alone, --model alone, or --config and --workdir. Received: none of them"),
        (["--preset", "{p}", "--workdir", "w"], "Received: --preset --workdir"),
        (["--preset", "{p}", "--config", "c"], "Received: --preset --config"),
        (["--config", "c"], "Received: --config"),
        (["--workdir", "w"], "Received: --workdir"),
        (["--preset", "{p}", "--model", "m.onnx"], "Received: --preset --model"),
        (["--model", "nowhere.onnx"], "nowhere.onnx: neither an ONNX file nor a folder"),
        (["--model", "nowhere.onnx", "evaluate.threshold=0.4"], "evaluate.threshold: the export has decided this"),
        (["--preset", "nowhere"], "nowhere/model.json: no such file"),
        (["--preset", "{p}", "model.threshold=0.4"], "model.threshold: the preset has decided this"),
        (
            ["--preset", "{p}", "evaluate.threshold=best"],
            "best is chosen in a work directory; give --config and --workdir",
        ),
        (["--preset", "{p}", "evaluate.presence=true"], "evaluate.presence: the preset has decided this"),
        (["--preset", "{p}", "seed=4"], "seed: the preset has decided this"),
        (["--preset", "{p}", "--image", "no.jpg"], "no.jpg: cannot read the photo"),
        (["--preset", "{p}", "--expression", " "], "must not be empty"),
    ],
)
def test_what_a_user_can_mend_is_one_line(words, told, shelf, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert predict(shelf, "--expression", "a", *(word.format(p=shelf / "preset") for word in words)) == 2
    message = capsys.readouterr().err
    assert told in message and message.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words", [["--expression", ""], ["--expression", "a", "--image", "no.jpg"], ["--expression", "a"]]
)
def test_a_wrong_question_is_told_before_tensorflow_is_there(words, shelf):
    code = "import sys; from lts_keras.commands import cli; print(cli.main(sys.argv[1:]), 'tensorflow' in sys.modules)"
    question = ["--preset", shelf / "nowhere", "--image", shelf / "photo.jpg"]
    done = run_python("-c", code, "predict", *question, *words)
    assert done.stdout.splitlines()[-1] == "2 False", done.stdout + done.stderr


def test_the_threshold_may_be_another_than_the_presets(shelf, tmp_path, capsys):
    words = ["--preset", shelf / "preset", "--expression", "the dog", "--output", tmp_path / "answer.png"]
    assert predict(shelf, *words, "evaluate.threshold=0.999") == 0
    told = capsys.readouterr().out
    assert "evaluate: {threshold: 0.999}" in told and "box (0, 0, 0, 0), 0.0% of the photo" in told


def test_a_scene_stored_in_several_ways_gives_one_overlay(shelf, tmp_path, capfd):
    overlays, told = set(), set()
    for kind, code in (("PNG", 1), ("PNG", 6), ("JPEG", 7)):
        photo = tmp_path / f"{code}.photo"
        photo.write_bytes(turned_photo(flat_scene(40, 72), code, kind))
        predict_to_file(parse_config({}), shelf / "preset", photo, ["the dog"], tmp_path / "overlay.png")
        overlays.add((tmp_path / "overlay.png").read_bytes())
        printed, complaints = capfd.readouterr()
        assert "oneDNN supports" not in complaints, "a transposition of bytes makes it write that"
        told.add(printed)
    assert len(overlays) == len(told) == 1


def test_a_photo_is_checked_before_tensorflow_is_there_also_with_exif(shelf, tmp_path):
    (tmp_path / "turned.jpg").write_bytes(turned_photo(flat_scene(40, 72), 6, "JPEG"))
    code = "import sys; from lts_keras.commands import cli; print(cli.main(sys.argv[1:]), 'tensorflow' in sys.modules)"
    question = ["--preset", shelf / "nowhere", "--image", tmp_path / "turned.jpg", "--expression", "a"]
    assert run_python("-c", code, "predict", *question).stdout.splitlines()[-1] == "2 False"
