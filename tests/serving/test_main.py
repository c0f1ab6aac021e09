"""The commands, as users run them."""

import numpy as np
import pytest
from PIL import Image

from serving.__main__ import main
from tests.conftest import run_python
from tests.small_models import photo_bytes
from tests.turned import CODES, flat_scene, turned_photo


@pytest.fixture
def photo(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(photo_bytes(90, 120))
    return tmp_path / "photo.jpg"


def words(server, photo, *expressions, image=None):
    pairs = [word for expression in expressions for word in ("--expression", expression)]
    output = photo.parent / "overlay.png"
    target = f"127.0.0.1:{server.port}" if server else "127.0.0.1:9"
    return ["predict", "--target", target, "--image", str(image or photo), *pairs, "--output", str(output)]


def test_predict_writes_the_overlay_and_says_what_it_found(server, photo, capsys):
    assert main(words(server, photo, "the left dog", "red")) == 0
    printed = capsys.readouterr().out
    assert "'the left dog': score 0." in printed
    assert "answered by lts version 7" in printed
    with Image.open(photo.parent / "overlay.png") as overlay:
        assert overlay.size == (120, 90)


@pytest.mark.parametrize(
    ("expression", "content", "line"),
    [
        ("  ", None, "an expression must not be empty"),
        ("?!", None, "an expression must have a word in it"),
        ("x", b"junk", "no JPEG or PNG photo that can be read"),
        ("x", photo_bytes()[:300], "no JPEG or PNG photo that can be read"),
        ("x", photo_bytes(400, 400), "refused by the server: the photo must have 1 to 100000 pixels"),
    ],
)
def test_predict_refuses_with_one_line(server, photo, capsys, expression, content, line):
    if content is not None:
        photo.write_bytes(content)
    assert main(words(server, photo, expression)) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
    assert not (photo.parent / "overlay.png").exists()


def test_predict_names_a_photo_that_is_not_there(server, photo, capsys):
    assert main(words(server, photo, "x", image="nowhere.jpg")) == 2
    assert capsys.readouterr().err == "serving predict: nowhere.jpg: cannot read the photo: No such file or directory\n"


def test_predict_says_that_the_server_is_not_reachable(photo, capsys):
    assert main(words(None, photo, "x")) == 1
    error = capsys.readouterr().err
    assert error.startswith("serving predict: 127.0.0.1:9: the server cannot be reached")
    assert error.count("\n") == 1


@pytest.mark.parametrize("case", ["folder", "port"])
def test_server_that_cannot_start_says_why_in_one_line(server, tmp_path, case):
    flags = {
        "folder": ("--port", 0, "--model_base_path", tmp_path / "nowhere"),
        "port": ("--port", server.port, "--model_base_path", tmp_path),
    }[case]
    done = run_python("-m", "serving", "server", *flags, timeout=60)
    assert done.returncode == 2
    assert {"folder": "no such folder", "port": "cannot listen on"}[case] in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_names_the_commands_and_needs_no_tensorflow():
    done = run_python("-X", "importtime", "-m", "serving", "--help")
    assert done.returncode == 0
    assert {"server", "predict"} <= set(done.stdout.split())
    assert "demo" not in done.stdout
    assert " tensorflow\n" not in done.stderr


def test_a_scene_stored_in_eight_ways_gives_one_overlay(server, client, saved_models, photo):
    scene, overlays = flat_scene(40, 72), set()
    expected = saved_models.first.predictor(scene, "the left dog").mask
    for code in CODES:
        photo.write_bytes(turned_photo(scene, code))
        (answer,) = client.segment(photo.read_bytes(), ["the left dog"])
        np.testing.assert_array_equal(answer.mask, expected)
        assert main(words(server, photo, "the left dog")) == 0
        overlays.add((photo.parent / "overlay.png").read_bytes())
    assert len(overlays) == 1
