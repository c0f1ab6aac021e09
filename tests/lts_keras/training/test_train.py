import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from lts_keras.config.errors import ConfigError
from lts_keras.config.read import load_config
from lts_keras.data.prepare.prepare import prepare
from lts_keras.models.lts import LTS
from lts_keras.training.callbacks import Backup, FiniteLoss, ProcessorTimeLimit, TrainingError
from tests.conftest import run_python

SMALL = ("model.backbone=darknet_tiny", "train.validation_split=null", "train.expressions_per_image=2")


@pytest.fixture(scope="module")
def prepared(tiny_config, tmp_path_factory):
    """A work directory with the tiny configuration's data."""
    workdir = tmp_path_factory.mktemp("prepared")
    prepare(load_config(tiny_config), workdir)
    return workdir


def new_workdir(prepared, folder):
    folder.mkdir()
    (folder / "data").symlink_to(prepared / "data")
    return folder


def train_command(config, workdir, *overrides):
    return ["-m", "lts_keras.commands.cli", "train", "--config", config, "--workdir", workdir, *SMALL, *overrides]


def weights(workdir):
    return [variable.numpy() for variable in LTS.from_preset(workdir / "train" / "preset").weights]


@pytest.mark.slow
def test_killed_and_started_again_ends_with_the_same_weights(tiny_config, prepared, tmp_path):
    whole, killed = new_workdir(prepared, tmp_path / "whole"), new_workdir(prepared, tmp_path / "killed")
    done = run_python(*train_command(tiny_config, whole, "train.epochs=4"))
    assert done.returncode == 0, done.stderr[-2000:]
    command = [sys.executable, *map(str, train_command(tiny_config, killed, "train.epochs=4"))]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    state = killed / "train" / "backup" / "epoch.json"
    deadline = time.monotonic() + 300
    while not (state.exists() and json.loads(state.read_text())["epochs"] >= 2):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "train" / "preset").exists()
    again = run_python(*train_command(tiny_config, killed, "train.epochs=4"))
    assert again.returncode == 0, again.stderr[-2000:]
    assert "going on behind epoch" in again.stdout
    for one, other in zip(weights(whole), weights(killed), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not state.exists()
    assert json.loads((killed / "train" / "history.json").read_text())["epoch"][-1] == 3


MIRRORED = """
import json, sys
import keras, numpy as np, tensorflow as tf
from lts_keras.losses import lts_losses
from lts_keras.training.train import make_strategy
from tests.lts_keras.models.test_lts import small

def step(num_devices):
    keras.utils.set_random_seed(3)
    with make_strategy(num_devices).scope():
        model = small()
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False  # else each replica normalises with its own half
        model.compile(keras.optimizers.SGD(1e-3), **lts_losses())
    rng = np.random.default_rng(0)
    inputs = {"image": rng.random((4, 64, 64, 3), "float32"), "token_ids": rng.integers(0, 7, (4, 5))}
    truth = {"mask": rng.integers(0, 2, (4, 16, 16, 1)), "prior": rng.integers(0, 2, (4, 8, 8, 1))}
    loss = model.fit(inputs, truth, batch_size=4, epochs=1, shuffle=False, verbose=0).history["loss"][0]
    return loss, [variable.numpy() for variable in model.trainable_variables]

(two_loss, two), (one_loss, one) = step(2), step(1)
gap = max(float(np.abs(a - b).max()) for a, b in zip(one, two))
print(json.dumps({"gap": gap, "losses": [float(one_loss), float(two_loss)]}))
"""


@pytest.mark.slow
def test_two_replicas_take_the_step_that_one_takes():
    done = run_python("-c", MIRRORED)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["gap"] < 1e-6
    assert found["losses"][0] == pytest.approx(found["losses"][1], rel=1e-5)


@pytest.mark.slow
def test_cached_features_train_like_decoded_photos(tiny_config, prepared, tmp_path):
    losses = []
    for cached in ("false", "true"):
        workdir = new_workdir(prepared, tmp_path / cached)
        overrides = ["model.trainable_backbone=none", f"train.cache_features={cached}", "train.augment.flip=0.5"]
        done = run_python(*train_command(tiny_config, workdir, "train.epochs=2", *overrides))
        assert done.returncode == 0, done.stderr[-2000:]
        losses.append(json.loads((workdir / "train" / "history.json").read_text())["loss"])
    # Cached maps are float16, and photos in batches are rounded to whole pixel values.
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_a_cache_too_large_is_refused_with_its_size(tiny_config, prepared, tmp_path):
    workdir = new_workdir(prepared, tmp_path / "w")
    overrides = ["model.trainable_backbone=none", "train.cache_features=true", "train.max_cache_gib=0.0001"]
    done = run_python(*train_command(tiny_config, workdir, *overrides))
    assert done.returncode == 2
    assert "train.max_cache_gib: 0.0001" in done.stderr and "Traceback" not in done.stderr


def test_training_without_data_is_one_line(tiny_config, tmp_path):
    done = run_python(*train_command(tiny_config, tmp_path))
    assert done.returncode == 2
    assert "no prepared data here" in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert not (tmp_path / "train" / "preset").exists()


def test_a_loss_that_is_not_finite_ends_training():
    with pytest.raises(TrainingError, match="step 3 .* lower train.learning_rate"):
        FiniteLoss().on_train_batch_end(2, {"loss": float("nan")})
    FiniteLoss().on_train_batch_end(2, {"loss": 1.0})


def test_the_time_limit_stops_behind_an_epoch():
    class Model:
        stop_training = False

    lines = []
    limit = ProcessorTimeLimit(1e-9, lines.append)
    limit.set_model(Model())
    limit.on_train_begin()
    limit.on_epoch_end(0)
    assert limit.model.stop_training and "after epoch 1" in lines[0]


def test_no_backup_means_the_first_epoch(tmp_path):
    assert Backup(tmp_path / "none").restore(None) == 0


def test_more_devices_than_there_are_is_refused():
    from lts_keras.training.train import make_strategy

    with pytest.raises(ConfigError, match="train.num_devices"):
        make_strategy(64)
