"""What every test shares: a quiet TensorFlow on the processor alone, and where the real data lies."""

import os
import subprocess
import sys
from pathlib import Path

# Set before anything imports TensorFlow; processes that tests start inherit it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("MPLBACKEND", "Agg")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Several test processes share the cores: one thread each beats threads that wait for each other.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis  # noqa: E402
import pytest  # noqa: E402

from lts_keras.utils.workdir import lock  # noqa: E402

# The first call of a TensorFlow function traces it, so a deadline per example would be a deadline on tracing.
hypothesis.settings.register_profile("lts", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("lts")
# For `pytest --hypothesis-profile=long`: other examples each time, and many.
hypothesis.settings.register_profile("long", deadline=None, derandomize=False, max_examples=2000, print_blob=True)

ROOT = Path(__file__).resolve().parent.parent

# Minutes each: begun last, one of them would run alone at the end while the other processes have nothing to do.
LONGEST = (
    "training/test_train.py",
    "training/test_several_machines.py",
    "pipelines/test_run.py",
    "test_readme.py",
    "training/test_devices.py",
    "benchmarks/test_gpu.py",
    "test_docs.py",
    "test_photos.py",
    "serving/test_swaps.py",
    "test_full_refcoco.py",
)


def pytest_collection_modifyitems(items):
    """Puts the files that take longest first; all else stays in its order."""
    items.sort(key=lambda item: not str(item.path).endswith(LONGEST))


@pytest.fixture(scope="session")
def repo():
    """Path of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data():
    """Folder of real photographs, expressions and weights (`data/`, `weights/`), which are no part of the project."""
    value = os.environ.get("LTS_TEST_DATA")
    if not value:
        pytest.skip("LTS_TEST_DATA is not set: it names the folder with the real photographs")
    path = Path(value) if os.path.isabs(value) else (ROOT / value)
    if not path.is_dir():
        pytest.skip(f"LTS_TEST_DATA names no folder: {value}")
    return path.resolve()


TINY = """# Scenes and a model so small that the whole pipeline takes seconds.
name: tiny
data:
  sources: [{kind: scenes, num_photos: {train: 12, val: 5, testA: 3}, photo_size: [48, 80]}]
model: {image_size: 64, backbone: darknet_tiny, trainable_backbone: all, embedding_dim: 8, gru_units: 8, joint_dim: 16,
  fusion_dim: 8, aspp_dim: 8}
train: {epochs: 2, batch_size: 6, sampling: per_image}
evaluate: {bootstrap_samples: 20, num_pictures: 4}
export: {batch_sizes: [1, 2], onnx: false}
"""


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory):
    """Path of a configuration file for a run of seconds."""
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(TINY)
    return path


def run_python(*words, cwd=ROOT, variables=None, **options):
    """Runs `python <words>` as a user would, with further environment variables; returns the completed process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(variables or {})}
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True, **options
    )


@pytest.fixture(scope="session")
def tiny_run(tiny_config, tmp_path_factory, worker_id):
    """Work directory in which `python -m pipelines quickstart` has run on the tiny configuration. Read only."""
    folder = tmp_path_factory.getbasetemp()
    # Test processes side by side share one run.
    workdir = (folder if worker_id == "master" else folder.parent) / "tiny-run"
    with lock(workdir.with_suffix(".lock"), wait_seconds=900):
        if not (workdir / "console.txt").exists():
            done = run_python("-m", "pipelines", "quickstart", "--config", tiny_config, "--workdir", workdir)
            assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-2000:]}"
            (workdir / "console.txt").write_text(done.stdout)
    return workdir
