"""The examples in the distribution's README run as they stand, but for ports, times and the photo of a load test."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.small_models import photo_bytes

PAGE = (ROOT / "serving" / "README.md").read_text(encoding="utf-8")
SHELL = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def adapted(server, tmp_path, monkeypatch):
    """Makes an example fit the server of the test, in a folder with a photo."""
    monkeypatch.chdir(tmp_path)
    Path("photo.jpg").write_bytes(photo_bytes())

    def adapt(text):
        text = text.replace("localhost:8500", f"127.0.0.1:{server.port}")
        text = text.replace("localhost:8501", f"127.0.0.1:{server.rest_port}")
        return text.replace("--seconds 20", "--seconds 1 --warm_up_seconds 0.2 --image photo.jpg")

    return adapt


@pytest.mark.parametrize("number", range(len(SHELL)))
def test_commands(adapted, number):
    command = SHELL[number]
    if command.startswith("grpcurl") and shutil.which("grpcurl") is None:
        pytest.skip("grpcurl is not installed")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "no_proxy": "127.0.0.1"}
    environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        ["bash", "-ec", adapted(command)], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    for words, expected in (
        ("--output overlay.png", "answered by lts version 7"),
        ("predict --target localhost:8500 --image photo.jpg --expression", '"answers": [{"expression"'),
        ("lts:predict", '"score"'),
        ("models/lts\n", '"AVAILABLE"'),
        ("GetModelStatus", '"AVAILABLE"'),
        ("PredictionService/Predict", "floatVal"),
        ("--picture", "picture: load.png"),
        ("--rate", '"loop": "open"'),
    ):
        if words in command:
            assert expected in done.stdout
            return
    pytest.fail(f"nothing is known of what this prints: {command}")


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python(adapted, number, capsys):
    exec(adapted(PYTHON[number]), {})
    assert re.search(r"0\.\d+", capsys.readouterr().out)


def test_there_are_examples_of_all_kinds():
    assert len(PYTHON) == 3
    for words in ("serving predict", "--json", "curl -s", "grpcurl", "load-test"):
        assert any(words in command for command in SHELL)
