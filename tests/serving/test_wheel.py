"""The distribution by itself, in a fresh environment without TensorFlow: it asks a real server."""

import ast
import configparser
import json
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.conftest import ROOT
from tests.small_models import photo_bytes

DISTRIBUTIONS = {"grpc": "grpcio", "PIL": "pillow", "google": "protobuf"}
DISTRIBUTIONS |= {"grpc_health": "grpcio-health-checking", "grpc_reflection": "grpcio-reflection"}
CLIENT = ("grpcio", "numpy", "pillow", "protobuf")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    # A copy: what an earlier build left in the folder would be packed too.
    for path in tracked_files():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    words = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, folder / "serving")
    run(sys.executable, "-m", "pip", *words)
    (path,) = folder.glob("lts_serving-*.whl")
    return path


def tracked_files():
    return [path for path in run("git", "ls-files", "serving", cwd=ROOT).split("\n") if path and (ROOT / path).exists()]


@pytest.fixture(scope="module")
def fresh_python(wheel, tmp_path_factory):
    """An interpreter with the wheel and what it requires, nothing else."""
    folder = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    words = ("install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel)
    done = subprocess.run([*pip_for(python), *words], capture_output=True, text=True)
    if "NewConnectionError" in done.stderr or "Temporary failure in name resolution" in done.stderr:
        pytest.skip(f"no package index can be reached: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    return python


def pip_for(python):
    return sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python


def run(*words, **options):
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_has_every_file_of_the_package(wheel):
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("serving/")}
    expected = {path for path in tracked_files() if path.endswith((".py", ".binpb", ".proto"))}
    assert expected <= inside, sorted(expected - inside)
    assert not any(name.startswith(("lts_keras", "tests")) for name in zipfile.ZipFile(wheel).namelist())


def test_whatever_is_imported_is_declared():
    config = configparser.ConfigParser()
    config.read(ROOT / "serving" / "setup.cfg")
    texts = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    declared = set(re.findall(r"^[\w-]+", "\n".join(text.strip() for text in texts), re.MULTILINE))
    imported = set()
    for path in (ROOT / path for path in tracked_files() if path.endswith(".py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
    imported -= {"serving", *sys.stdlib_module_names}
    assert "lts_keras" not in imported
    unknown = {name for name in imported if DISTRIBUTIONS.get(name, name.replace("_", "-")) not in declared}
    assert not unknown
    assert set(CLIENT) <= declared


@pytest.mark.slow
def test_a_fresh_environment_asks_a_server_without_tensorflow(fresh_python, server, tmp_path):
    installed = {entry["name"].lower() for entry in json.loads(run(*pip_for(fresh_python), "list", "--format=json"))}
    assert installed >= {"lts-serving", *CLIENT}
    assert not installed & {"tensorflow", "keras", "tensorflow-serving-api", "lts-keras", "matplotlib", "scipy"}
    (tmp_path / "photo.jpg").write_bytes(photo_bytes())
    words = ("--target", f"127.0.0.1:{server.port}", "--image", "photo.jpg", "--expression", "the left dog")
    command = (fresh_python, "-I", "-m", "serving", "predict", *words)
    printed = run(*command, "--json", "--output", "overlay.png", cwd=tmp_path)
    answer = json.loads(printed)["answers"][0]
    assert answer["version"] == 7
    assert answer["size"] == [60, 80]
    assert (tmp_path / "overlay.png").stat().st_size > 1000
    words = ("--target", f"127.0.0.1:{server.port}", "--image", "photo.jpg", "--requests", 2, "--warm_up_seconds", 0)
    measured = json.loads(run(fresh_python, "-I", "-m", "serving", "load-test", *words, "--json", cwd=tmp_path))
    assert (measured["requests"], measured["errors"]) == (2, {})
    command = [str(word) for word in (fresh_python, "-I", "-m", "serving", "load-test", *words, "--picture", "a.png")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "serving load-test: --picture needs matplotlib: pip install lts-serving[load-test]\n"
    done = subprocess.run([fresh_python, "-I", "-m", "serving", "server"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
