"""`python -m serving predict`, as users run it."""

import io
import json
import os
import struct
import zlib

import grpc
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco

from lts_keras.data.input.geometry import decode_image
from lts_keras.data.orientation import read_orientation, upright
from serving.__main__ import main
from serving.client.photos import decode_upright
from tests.conftest import run_python
from tests.serving.certificates import make_certificates
from tests.serving.client.forwarding import forwarding
from tests.small_models import photo_bytes
from tests.turned import CODES, KINDS, flat_scene, stored, turned_photo


@pytest.fixture
def photo(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(photo_bytes(90, 120))
    return tmp_path / "photo.jpg"


@pytest.fixture
def predict(server, photo):
    """Runs the command in the photo's folder; flags that are given come last and count."""

    def run(*flags, expressions=("the left dog",), output=True):
        words = [word for expression in expressions for word in ("--expression", expression)]
        words += ["--output", str(photo.parent / "overlay.png")] if output else []
        target = f"127.0.0.1:{server.port}"
        return main(["predict", "--target", target, "--image", str(photo), *words, *map(str, flags)])

    return run


def test_it_draws_and_says_what_it_found(predict, photo, capsys):
    assert predict(expressions=["the left dog", "red"]) == 0
    printed = capsys.readouterr().out
    assert "'the left dog': score 0." in printed
    assert "answered by lts version 7 at 127.0.0.1:" in printed
    with Image.open(photo.parent / "overlay.png") as overlay:
        assert overlay.format == "PNG"
        assert overlay.width == 4 * 120  # small photos are drawn larger
        assert overlay.height > 4 * 90  # with a legend below
    assert sorted(os.listdir(photo.parent)) == ["overlay.png", "photo.jpg"]


def test_json_is_one_document_and_draws_only_where_told(predict, photo, capsys, client):
    assert predict("--json", expressions=["the left dog", "der rote Fuß"], output=False) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert printed.out.count("\n") == 1
    assert not printed.err
    assert os.listdir(photo.parent) == ["photo.jpg"]
    assert (found["size"], found["model"], found["version"], found["overlay"]) == ([90, 120], "lts", 7, None)
    expected = client.segment(photo.read_bytes(), ["the left dog", "der rote Fuß"])
    for answer, entry, expression in zip(expected, found["answers"], ["the left dog", "der rote Fuß"], strict=True):
        assert entry == {"expression": expression, **answer.to_json()}
        np.testing.assert_array_equal(coco.decode(entry["rle"]), answer.mask)
    assert predict("--json") == 0
    assert json.loads(capsys.readouterr().out)["overlay"] == str(photo.parent / "overlay.png")
    assert (photo.parent / "overlay.png").exists()


@pytest.mark.parametrize(
    ("expression", "content", "line"),
    [
        ("  ", None, "an expression must not be empty"),
        ("?!", None, "an expression must have a word in it"),
        ("\u200b—", None, "an expression must have a word in it"),
        ("dog \udcff", None, "half of a character"),
        ("x", b"", "no JPEG or PNG photo that can be read"),
        ("x", b"junk", "no JPEG or PNG photo that can be read"),
        ("x", b"GIF89a" + bytes(100), "no JPEG or PNG photo that can be read"),
        ("x", photo_bytes()[:300], "no JPEG or PNG photo that can be read"),
        ("x", photo_bytes(400, 400), "refused by the server: the photo must have 1 to 100000 pixels"),
    ],
)
def test_what_cannot_be_asked_is_one_line(predict, photo, capsys, expression, content, line):
    if content is not None:
        photo.write_bytes(content)
    assert predict(expressions=[expression]) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
    assert not (photo.parent / "overlay.png").exists()


@pytest.mark.parametrize(
    ("flags", "code", "line"),
    [
        (("--image", "nowhere.jpg"), 2, "nowhere.jpg: cannot read the photo: No such file or directory"),
        (("--image", "/"), 2, "/: cannot read the photo: Is a directory"),
        (("--output", "nowhere/a.png"), 2, "--output nowhere/a.png: there is no folder nowhere"),
        (("--timeout", 0), 2, "--timeout must be above 0 seconds. Received: 0.0"),
        (("--tls_ca", "nowhere.pem"), 2, "nowhere.pem: cannot read the file: No such file or directory"),
        (("--tls_key", "a.key"), 2, "go together. Received: the key without the certificate"),
        (("--model_name", "other"), 1, "Servable not found for request: Latest(other)"),
        (("--model_version", 8), 1, "Servable not found for request: Specific(lts, 8)"),
        (("--target", "127.0.0.1:9", "--timeout", 5), 1, "127.0.0.1:9: the server cannot be reached"),
    ],
)
def test_what_goes_wrong_is_one_line(predict, capsys, flags, code, line):
    assert predict(*flags) == code
    error = capsys.readouterr().err
    assert error.startswith("serving predict: ")
    assert line in error
    assert error.count("\n") == 1


def test_a_server_without_tls_is_one_line_too(server, photo):
    words = ("--target", f"127.0.0.1:{server.port}", "--image", photo, "--expression", "x", "--tls")
    done = run_python("-m", "serving", "predict", *words, cwd=photo.parent, timeout=60)
    assert done.returncode == 1
    assert "the server cannot be reached" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["predict", "load-test"])
def test_tls_with_certificates_of_both_sides(server, photo, tmp_path, capsys, command):
    files = make_certificates(tmp_path, server_name="photos.example")
    pair = (files.server_key.read_bytes(), files.server.read_bytes())
    credentials = grpc.ssl_server_credentials([pair], files.ca.read_bytes(), require_client_auth=True)
    rest = ("--requests", 2, "--warm_up_seconds", 0) if command == "load-test" else ("--output", tmp_path / "a.png")
    with forwarding(f"127.0.0.1:{server.port}", credentials=credentials) as target:
        words = [command, "--target", target, "--image", photo, "--expression", "red", "--json", *rest]
        words += ["--tls_ca", files.ca, "--tls_server_name", "photos.example"]
        own = ["--tls_certificate", files.client, "--tls_key", files.client_key]
        assert main([str(word) for word in words + own]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["answered"] == 2 if command == "load-test" else found["version"] == 7
        assert main([str(word) for word in words]) == 1
        assert "the server cannot be reached" in capsys.readouterr().err


def test_a_socket_is_asked(server, photo, tmp_path, capsys):
    with forwarding(f"127.0.0.1:{server.port}", f"unix:{tmp_path}/socket") as target:
        assert main(["predict", "--target", target, "--image", str(photo), "--expression", "red", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == 7


def test_wrong_use_has_code_2(photo):
    for words in ((), ("--target", "a:1"), ("--target", "a:1", "--image", photo, "--expression", "x", "--what")):
        with pytest.raises(SystemExit) as error:
            main(["predict", *map(str, words)])
        assert error.value.code == 2


def test_a_scene_stored_in_eight_ways_gives_one_overlay(predict, client, saved_models, photo):
    scene, overlays = flat_scene(40, 72), set()
    expected = saved_models.first.predictor(scene, "the left dog").mask
    for code in CODES:
        photo.write_bytes(turned_photo(scene, code))
        (answer,) = client.segment(photo.read_bytes(), ["the left dog"])
        np.testing.assert_array_equal(answer.mask, expected)
        assert predict() == 0
        overlays.add((photo.parent / "overlay.png").read_bytes())
    assert len(overlays) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", CODES)
def test_photos_are_turned_upright(kind, code):
    scene = flat_scene(40, 72)
    assert stored(scene, code).shape != scene.shape or code < 5
    pixels = np.asarray(decode_upright(turned_photo(scene, code, kind)))
    np.testing.assert_allclose(pixels.astype(int), scene.astype(int), atol=3)


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "P", "RGBA", "I;16", "opaque", "half"])
def test_pixels_are_those_that_the_model_sees(mode):
    random = np.random.default_rng(0)
    scene = Image.fromarray(random.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    if mode == "I;16":
        scene = Image.fromarray(random.integers(0, 65536, (20, 30), dtype=np.uint16))
    elif mode in ("RGBA", "LA"):
        scene.putalpha(Image.fromarray(random.integers(0, 256, (20, 30), dtype=np.uint8)))
        scene = scene.convert(mode)
    elif mode in ("opaque", "half"):
        scene.putalpha({"opaque": 255, "half": 127}[mode])
    else:
        scene = scene.convert(mode)
    file = io.BytesIO()
    scene.save(file, "PNG")
    pixels = np.asarray(decode_upright(file.getvalue())).astype(int)
    np.testing.assert_allclose(pixels, decode_image(file.getvalue()).numpy(), atol=1)


@hypothesis.given(st.binary(max_size=40), st.integers(0, 60))
def test_a_damaged_block_turns_a_photo_as_the_graph_does(noise, kept):
    scene = flat_scene(16, 24)
    photo = turned_photo(scene, 6, "PNG")
    start = photo.index(b"eXIf") + 4
    length = int.from_bytes(photo[start - 8 : start - 4], "big")
    block = photo[start : start + length][:kept] + noise
    chunk = b"eXIf" + block
    damaged = photo[: start - 8] + struct.pack(">I", len(block)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    damaged += photo[start + length + 4 :]
    expected = upright(stored(scene, 6), read_orientation(damaged)).numpy()
    np.testing.assert_array_equal(np.asarray(decode_upright(damaged)), expected)


def test_a_damaged_block_gives_no_warning(predict, photo, capfd):
    content = turned_photo(flat_scene(40, 72), 6, "JPEG")
    position = content.index(b"Exif\0\0") + 10
    photo.write_bytes(content[:position] + b"\xff" * 12 + content[position + 12 :])
    assert predict() == 0
    assert not capfd.readouterr().err
