"""Every command of the README and the pages beside it is run on the tiny configuration; links lead somewhere."""

import contextlib
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time

import pytest

from lts_keras.config.read import Config, parse_config
from pipelines.versions import publish
from tests.conftest import ROOT, run_python

PAGES = ("README.md", "CONTRIBUTING.md", "docs/index.md", "docs/pipeline.md", "docs/training.md", "docs/decisions.md")
PAGES += ("docs/evaluation.md", "docs/serving.md")
# The two that set up and run everything: what they start is run by `tiny_run`, and by this very process.
MAKE = {"make run": "-m pipelines quickstart --workdir runs/quickstart", "make test": "-m pytest"}
STAY = ("serving server", "serving demo")


def fenced(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S)


def commands(page):
    return [line for block in fenced(page, "bash") for line in block.splitlines() if line.strip()]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture
def adapt(tiny_run, tiny_config, tmp_path):
    """Makes a page's text run on the tiny configuration, in folders and on ports of its own."""
    shutil.copytree(tiny_run, tmp_path / "quickstart")
    nightly = shutil.copytree(tiny_run, tmp_path / "nightly")
    # A second version, so that there is something to go back to.
    publish(nightly / "serving", nightly / "export/saved_model", {})
    replacements = {
        "configs/quickstart.yaml": str(tiny_config),
        "runs/": f"{tmp_path}/",
        "train.epochs=20": "train.epochs=1",
        **{port: free_port() for port in ("8500", "8501", "7860")},
    }

    def replace(text):
        for old, new in replacements.items():
            text = text.replace(old, new)
        return text

    return replace


@pytest.mark.parametrize(("command", "starts"), MAKE.items())
def test_the_two_make_commands_start_what_is_tested_here(command, starts):
    assert command in commands("README.md")
    planned = subprocess.run(["make", "-n", *command.split()[1:]], cwd=ROOT, capture_output=True, text=True)
    assert planned.returncode == 0 and starts in planned.stdout


def test_make_alone_explains_itself():
    told = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 0 and all(word in told.stdout for word in ("setup", "run", "test", "lint"))


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any(c not in MAKE for c in commands(page))])
def test_every_command_runs(page, adapt):
    servers = []
    with contextlib.ExitStack() as running:
        for command in (command for command in commands(page) if command not in MAKE):
            words = shlex.split(adapt(command))
            assert words[0] in ("lts", "python"), f"{page} has a command that no test knows how to run: {command}"
            words = ["-m", "lts_keras.commands.cli", *words[1:]] if words[0] == "lts" else words[1:]
            if any(name in command for name in STAY):
                servers.append(running.enter_context(background(words)))
            else:
                done = run_once_ready(words) if "--target" in words else run_python(*words)
                assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        assert all(process.poll() is None for process in servers), "a server ended by itself"


def run_once_ready(words, seconds=90):
    """Repeats a client's command until the server that was started before it answers."""
    until = time.monotonic() + seconds
    while (done := run_python(*words)).returncode and time.monotonic() < until:
        time.sleep(1)
    return done


@contextlib.contextmanager
def background(words):
    process = subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.slow
def test_the_python_in_the_readme_runs(adapt):
    (code,) = fenced("README.md", "python")
    done = run_python("-c", adapt(code))
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.match(r"\(\d+, \d+\) ", done.stdout)


def test_every_key_of_the_decisions_page_is_one_of_the_schema_and_its_defaults_are_the_schemas():
    text = (ROOT / "docs/decisions.md").read_text(encoding="utf-8")
    keys = set(re.findall(r"\b((?:model|train|data|evaluate|weights)\.[a-z_]+)\b(?!\.)", text)) - {
        "data.md",
        "weights.md",
    }
    keys -= {"yolov3.weights"}
    sections = Config().model_dump()
    assert len(keys) > 30 and not [key for key in keys if key.split(".")[1] not in sections[key.split(".")[0]]]
    for override in re.findall(r"\b((?:model|train)\.[a-z_]+=[\w.]+)", text):
        assert parse_config({}, [override]) != Config(), f"{override} is the default, and no other choice"
    model, train = sections["model"], sections["train"]
    assert (model["image_size"], model["max_tokens"], model["threshold"], model["gru_units"]) == (416, 15, 0.25, 512)
    assert (model["aspp_rates"], model["aspp_dim"], model["joint_dim"]) == ((6, 12, 18), 256, 1024)
    assert (train["learning_rate"], train["decay_epochs"], train["epochs"]) == (1e-3, (30,), 45)
    assert train["batch_size"] == 18


@pytest.mark.parametrize("page", PAGES)
def test_links_and_named_files_are_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    folder = (ROOT / page).parent
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert not [link for link in links if link and not (folder / link).exists()]
    named = re.findall(r"`((?:configs|lts_keras|pipelines|serving|benchmarks|docs)/[\w./-]*)`", text)
    assert not [path for path in named if not (ROOT / path).exists()]
