"""The Dockerfiles, as far as they can be checked without an engine."""

import re
import shutil
import subprocess
import sys
import zipfile

import pytest

from serving.parsing import parse_flags
from tests.conftest import ROOT
from tests.serving.deploy.reading import DEPLOY, ignored, read_dockerfile

SERVER, TRAIN = DEPLOY / "Dockerfile", DEPLOY / "train.Dockerfile"
both = pytest.mark.parametrize("path", (SERVER, TRAIN), ids=("server", "train"))
PATTERNS = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()


def tracked():
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.splitlines() if (ROOT / name).exists()]


def sources(words):
    """What a COPY takes, `None` for one from another stage."""
    return None if words[0].startswith("--from=") else [word.strip("/") for word in words[:-1]]


@both
def test_what_is_copied_is_there_and_in_the_context(path):
    copied = [name for kind, words in read_dockerfile(path) if kind == "COPY" for name in sources(words) or ()]
    assert copied
    context = [name for name in tracked() if not ignored(name, PATTERNS)]
    for name in copied:
        assert any(file == name or file.startswith(f"{name}/") for file in context), name


@both
def test_stages_that_are_named_are_built(path):
    stages, default = {"build-cpu", "build-gpu"}, "cpu"
    instructions = read_dockerfile(path)
    assert instructions[0] == ("ARG", [f"ACCELERATOR={default}"])
    known = set()
    for kind, words in instructions:
        if kind == "FROM":
            for accelerator in ("cpu", "gpu"):
                image = words[0].replace("${ACCELERATOR}", accelerator)
                assert image in known or re.fullmatch(r"python:3\.11-slim-bookworm", image), image
            known.update(words[2:])
        elif kind == "COPY" and words[0].startswith("--from="):
            assert words[0].removeprefix("--from=") in known
    assert stages <= known


@both
def test_versions_are_those_of_the_constraints(path):
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
    installs = [words for kind, words in read_dockerfile(path) if kind == "RUN" and words[:2] == ["pip", "install"]]
    assert len(installs) == 2
    for words in installs:
        assert words[2:4] == ["--constraint", "constraints.txt"]
        for requirement in words[4:]:
            name, _, version = requirement.partition("==")
            name, _, extras = name.partition("[")
            if not name.startswith("."):
                assert version == pins[name], requirement
                continue
            text = (ROOT / name / "setup.cfg").read_text(encoding="utf-8")
            for extra in extras.strip("]").split(","):
                assert re.search(rf"^{extra} =$", text, re.MULTILINE), requirement


@both
def test_nothing_runs_as_root_and_the_tools_are_on_the_path(path):
    instructions = read_dockerfile(path)
    assert [words for kind, words in instructions if kind == "USER"] == [["65532:65532"]]
    last = max(index for index, (kind, _) in enumerate(instructions) if kind == "FROM")
    (environment,) = [words for kind, words in instructions[last:] if kind == "ENV"]
    assert "PATH=/opt/venv/bin:$PATH" in environment


def test_the_server_starts_with_flags_that_the_parser_takes():
    instructions = dict(read_dockerfile(SERVER))
    assert instructions["ENTRYPOINT"] == ["python", "-m", "serving", "server"]
    values, given = parse_flags(instructions["CMD"])
    assert given == {
        "port",
        "rest_api_port",
        "model_name",
        "model_base_path",
        "enable_grpc_healthcheck_service",
        "enable_profiler",
    }
    assert instructions["EXPOSE"] == [str(values["port"]), str(values["rest_api_port"])]
    assert values["enable_grpc_healthcheck_service"]  # HEALTHCHECK asks it
    assert not values["enable_profiler"]  # to a server behind a proxy in its pod, everybody is on the same machine


def test_training_starts_with_the_command_that_the_package_installs():
    instructions = dict(read_dockerfile(TRAIN))
    (command,) = instructions["ENTRYPOINT"]
    assert f"    {command} = " in (ROOT / "setup.cfg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path",
    (
        "runs/quickstart/serving/1/saved_model.pb",
        "data/photo.jpg",
        ".venv/bin/python",
        ".git/config",
        "tests/conftest.py",
        "shared/weights/x.npz",
        ".env",
        "id_rsa",
        "serving/__pycache__/client.cpython-311.pyc",
        "serving/deploy/compose.yaml",
        "lts_keras.egg-info/PKG-INFO",
        "notes.txt",
    ),
)
def test_the_context_leaves_out(path):
    assert ignored(path, PATTERNS)


def test_the_context_is_code_alone():
    context = [name for name in tracked() if not ignored(name, PATTERNS)]
    assert {name.split("/")[0] for name in context} == {
        *("LICENSE", "README.md", "configs", "constraints.txt", "lts_keras", "pipelines", "pyproject.toml", "serving"),
        "setup.cfg",
    }
    assert sum((ROOT / name).stat().st_size for name in context) < 10 << 20
    assert "serving/wire/proto/tensorflow_serving.binpb" in context


def test_the_context_is_enough_to_install_the_server(tmp_path):
    """As the image's `pip install`, but without the dependencies, which are here."""
    context = tmp_path / "context"
    copied = {"constraints.txt", "serving"}
    for name in tracked():
        if name.split("/")[0] in copied and not ignored(name, PATTERNS):
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, context / name)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*build, "--wheel-dir", tmp_path, "./serving"], cwd=context, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("lts_serving-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for name in tracked():
        if re.match(r"serving/(?!deploy/).*\.(py|binpb)$", name):
            assert name in names
    assert not [name for name in names if name.startswith(("lts_keras", "serving/deploy"))]
