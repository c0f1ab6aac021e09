import json

import pytest
import tensorflow as tf

from tests.conftest import run_python


def test_without_a_gpu_one_line_says_so():
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    done = run_python("benchmarks/gpu.py")
    assert done.returncode == 0 and done.stdout.startswith("no GPU here") and len(done.stdout.splitlines()) == 1


@pytest.mark.slow
def test_all_measurements_run_on_parts_of_the_processor(tmp_path):
    options = ["--logical-cpus", "2", "--size", "64", "--batch", "2", "--steps", "1", "--precision", "float32"]
    done = run_python("benchmarks/gpu.py", *options, "--json", tmp_path / "r.json")
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["equality, 2 devices"] <= 1e-5 and found["float32, 2 devices"]["images_per_second"] > 0
    assert found["float32, memory of table 7"]["peak"] is None and "all checks passed" in done.stdout
