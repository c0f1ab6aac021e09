import json
import subprocess
import sys

import pytest

from tests.conftest import run_python

# The benchmark's own steps at 64 pixels, where they take a second.
SMALL = """
import dataclasses, json, sys
sys.path.append("benchmarks")  # last: benchmarks/serving.py is not the package
import training_step
settings = [dataclasses.replace(setting, size=64, batch=2) for setting in training_step.SETTINGS[-2:]]
training_step.SETTINGS = settings
for setting in settings:
    args = training_step.parse_arguments(["--time-ours", setting.name, "--repeats", "1"])
    print(json.dumps([setting.name, training_step.time_ours(args)]))
"""


def test_wrong_use_is_one_line_and_code_2(repo, tmp_path):
    script = str(repo / "benchmarks" / "training_step.py")
    done = subprocess.run([sys.executable, script, "--peers", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 2 and f"Received: {tmp_path}" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_steps_with_several_sentences_and_with_cached_maps_are_timed():
    done = run_python("-c", SMALL)
    assert done.returncode == 0, done.stderr[-2000:]
    for line, kind in zip(done.stdout.splitlines()[-2:], ("4 sentences a photo", "cached maps"), strict=True):
        name, found = json.loads(line)
        assert kind in name and found["samples_ms"][0] > 0 and found["cpu_ms"]["median"] > 0


@pytest.mark.slow
def test_a_race_gives_times_and_ratios(repo, shared_data, tmp_path):
    if not (repo / ".venv-torch").is_dir():
        pytest.skip(".venv-torch is not there; benchmarks/training_step.py makes it")
    options = ["--rounds", "1", "--repeats", "1", "--sizes", "96", "--precision", "bfloat16"]
    peers = ["--peers", shared_data / "peers"]
    done = run_python("benchmarks/training_step.py", *options, *peers, "--json", tmp_path / "r.json")
    assert done.returncode == 0, done.stderr[-2000:]
    (ratio,) = json.loads((tmp_path / "r.json").read_text())["sizes"]["96"]["ratios"].values()
    assert ratio["median"] > 0 and "targets: " in done.stdout and "tensorflow" in done.stdout
