"""The whole pipeline as a user runs it: in processes of its own, repeated, killed, twice at once, with bad input."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from pipelines import versions
from pipelines.stages import STAGES
from tests.conftest import ROOT, run_python
from tests.processes import started

pytestmark = pytest.mark.slow


def run(config, workdir, *overrides):
    return run_python("-m", "pipelines", "run", "--config", config, "--workdir", workdir, *overrides)


@pytest.fixture
def finished(tiny_run, tmp_path):
    """A copy of a finished run's work directory."""
    return shutil.copytree(tiny_run, tmp_path / "work")


def served_files(workdir):
    return {path: path.read_bytes() for path in sorted((workdir / "serving").rglob("*")) if path.is_file()}


def test_a_run_ends_with_a_served_version_and_everything_that_explains_it(tiny_run):
    for path in ("data/manifest.json", "data/check/report.html", "train/preset", "evaluate/metrics.json"):
        assert (tiny_run / path).exists()
    for path in ("evaluate/report.html", "bless/decision.json", "export/model_card.md", "infra_validate/log.json"):
        assert (tiny_run / path).exists()
    (lineage,) = [json.loads(path.read_text()) for path in (tiny_run / "lineage").iterdir()]
    stamps = {stage: json.loads((tiny_run / "stages" / f"{stage}.json").read_text()) for stage in STAGES}
    assert (lineage["data"], lineage["model"]) == (stamps["ingest"]["result"], stamps["train"]["result"])
    assert lineage["version"] == 1 and lineage["config"]["name"] == "tiny" and "scenes/val" in lineage["metrics"]
    assert versions.served(tiny_run / "serving")[1]["model"] == lineage["model"]
    assert (tiny_run / "serving/1/saved_model.pb").is_file()


def test_the_console_tells_the_stages_in_order_and_ends_with_a_short_table(tiny_run):
    lines = (tiny_run / "console.txt").read_text().splitlines()
    named = [match.group(1) for line in lines if (match := re.match(r"\d\d:\d\d \[(\w+)\] starts", line))]
    assert named == list(STAGES)
    assert any(re.match(r"\d\d:\d\d \[train\] .*epoch 2/2", line) for line in lines), "training shows its progress"
    assert not any("KFP" in line or "INFO" in line for line in lines)
    assert any(line.startswith("scenes/val ") for line in lines)
    resolved = [line for line in lines if line.startswith("# configuration, the whole in ")]
    assert len(resolved) == 1 and f"{tiny_run}/config.yaml: differs from the defaults in" in resolved[0]
    assert "name: tiny" in lines and not any("max_minutes" in line for line in lines), "the differences alone"
    paths = {line.split()[0]: line.split()[1] for line in lines[-3:]}
    assert set(paths) == {"overlay", "report", "served"} and all(os.path.exists(path) for path in paths.values())


def test_the_typical_answer_over_grpc_is_left_as_a_picture(tiny_run):
    console = (tiny_run / "console.txt").read_text()
    told = re.search(r"asked the server about 50 new pictures; .*rank 25 of 50 by IoU \(quartiles .*\)", console)
    assert told, console
    with Image.open(tiny_run / "demo/overlay.png") as picture:
        assert picture.width > 600
    with Image.open(tiny_run / "demo/photo.jpg") as photo:
        assert photo.format == "JPEG"


def test_finished_stages_are_passed_over_and_nothing_is_pushed_twice(finished, tiny_config):
    before = served_files(finished)
    done = run(tiny_config, finished)
    assert done.returncode == 0, done.stdout + done.stderr
    passed_over = set(re.findall(r"\[(\w+)\] same inputs as on .*: passed over", done.stdout))
    assert passed_over == {"validate_data", "train", "evaluate", "export", "infra_validate"}
    assert "version 1 is there already" in done.stdout
    assert served_files(finished) == before


def test_a_result_that_was_damaged_is_made_again(finished, tiny_config):
    (finished / "evaluate/report.html").write_text("cut sh")
    done = run(tiny_config, finished)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[evaluate] starts" in done.stdout and "[train] starts" not in done.stdout
    assert (finished / "evaluate/report.html").read_text().rstrip().endswith("</html>")


def test_a_model_that_is_not_blessed_is_one_line_and_leaves_what_is_served(finished, tiny_config):
    before = served_files(finished)
    done = run(tiny_config, finished, "bless.min_mean_iou=1.0")
    assert done.returncode == 1
    assert re.fullmatch(
        r"pipelines run: bless: NOT_BLESSED: mean_iou on scenes/val is 0\.\d+, below 1\.000.*\n", done.stderr
    )
    assert "[export]" not in done.stdout and served_files(finished) == before
    assert json.loads((finished / "bless/decision.json").read_text())["decision"] == "NOT_BLESSED"


def test_data_that_cannot_be_read_ends_with_code_2_and_one_line(tmp_path, tiny_config):
    source = "data.sources=[{kind: manifest, name: mine, file: nowhere.jsonl}]"
    done = run(tiny_config, tmp_path / "work", source)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "nowhere.jsonl" in done.stderr
    assert not (tmp_path / "work/serving").exists()


def started_run(config, workdir):
    """A run as users start it, of which nothing is left behind the block."""
    words = [sys.executable, "-m", "pipelines", "run", "--config", config, "--workdir", workdir, "train.epochs=3"]
    return started(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def wait_for(process, pattern):
    for line in process.stdout:
        if re.search(pattern, line):
            return line
    raise AssertionError(f"the run ended without {pattern}")


def gone(pid, seconds=10):
    """Whether a process ends within some seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if os.waitpid(pid, os.WNOHANG) != (0, 0):
                return True
        except ChildProcessError:
            with open(f"/proc/{pid}/stat") if os.path.exists(f"/proc/{pid}/stat") else contextlib.nullcontext() as stat:
                if stat is None or stat.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        time.sleep(0.1)
    return False


def test_killed_while_training_it_goes_on_and_two_at_once_do_not_meet(tmp_path, tiny_config):
    workdir = tmp_path / "work"
    with started_run(tiny_config, workdir) as first:
        wait_for(first, r"\[train\] .*epoch 1/3")
        second = run(tiny_config, workdir)
        assert second.returncode == 1
        assert f"{workdir} is in use by process {first.pid}" in second.stderr and second.stderr.count("\n") == 1
        stage = int((workdir / ".lock").read_text())
        os.kill(first.pid, signal.SIGKILL)
        assert gone(stage), "the stage of a killed run must not go on unseen"
    assert not (workdir / "serving").exists()
    # The stages behind are those of every run.
    done = run(tiny_config, workdir, "train.epochs=3", "bless.min_mean_iou=1.0")
    assert done.returncode == 1 and "NOT_BLESSED" in done.stderr, done.stdout + done.stderr
    assert "epoch 3/3" in done.stdout and "epoch 1/3" not in done.stdout, "it goes on behind the last whole epoch"
