"""Training to its end through kills, changed settings, bad numbers and full disks; with a small model."""

import fnmatch
import functools
import json
import os
import shutil
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from lts_keras.config.read import load_config
from lts_keras.data.prepare.prepare import prepare
from lts_keras.models.lts import LTS
from lts_keras.training.errors import TrainingError
from lts_keras.training.parts import Parts, compile_model
from lts_keras.training.train import train
from tests.conftest import run_python
from tests.lts_keras.models.test_lts import small
from tests.processes import started

SMALL = ("model.image_size=32", "train.validation_split=null", "train.expressions_per_image=2")


@pytest.fixture(scope="module")
def prepared(tiny_config, tmp_path_factory):
    """A work directory with the tiny configuration's data."""
    workdir = tmp_path_factory.mktemp("prepared")
    prepare(load_config(tiny_config), workdir)
    return workdir


@pytest.fixture
def new_workdir(prepared, tmp_path):
    """Function that makes a work directory on the same data."""

    def make(name):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data").symlink_to(prepared / "data")
        return tmp_path / name

    return make


def make_small(config, vocabulary, progress, **arguments):
    return small(vocabulary=vocabulary, image_size=config.model.image_size, max_tokens=15, **arguments)


def compile_eager(model, config, steps):
    """A few steps of a small model are over before they would be traced."""
    compile_model(model, config, steps)
    model.run_eagerly = True


def small_parts(model=None, **parts):
    return Parts(
        **({"make_model": functools.partial(make_small, **(model or {})), "compile_model": compile_eager} | parts)
    )


def run(config, workdir, *overrides, lines=None, parts=None, model=None):
    """Trains in this process."""
    parts = parts or small_parts(model)
    return train(load_config(config, [*SMALL, *overrides]), workdir, ([] if lines is None else lines).append, parts)


def weights(workdir):
    return [variable.numpy() for variable in LTS.from_preset(workdir / "train" / "preset").weights]


def assert_equal_weights(one, other):
    for left, right in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(left, right)


def history(workdir):
    return json.loads((workdir / "train" / "history.json").read_text())


VARIANTS = {
    "transformer with dropout, moving average, cut batch": (
        {"locator": "transformer", "dropout": 0.5},
        ("train.ema=0.9", "train.batch_size=5", "train.sampling=per_ref"),
    ),
    "eager, mixed bfloat16, word filter, clipped": (
        {"locator": "word_filter", "dtype": "mixed_bfloat16"},
        ("train.clip_norm=1",),
    ),
    "eager, mixed float16, filters behind a transformer": (
        {"locator": "transformer", "num_filters": 2, "dropout": 0.1, "dtype": "mixed_float16"},
        (),
    ),
    "eager, whole backbone, momentum": (
        {"trainable_backbone": "all"},
        ("train.optimizer=sgd", "train.learning_rate=1e-4"),
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_training_cut_in_two_ends_with_the_same_weights(tiny_config, new_workdir, variant):
    model, overrides = VARIANTS[variant]
    whole, cut, lines = new_workdir("whole"), new_workdir("cut"), []
    parts = small_parts(model) if "eager" in variant else small_parts(model, compile_model=compile_model)
    run(tiny_config, whole, "train.epochs=2", *overrides, parts=parts)
    for epochs in (1, 2):
        run(tiny_config, cut, f"train.epochs={epochs}", *overrides, parts=parts, lines=lines)
    assert any("going on behind epoch 1 of 2" in line for line in lines)
    assert_equal_weights(whole, cut)
    assert history(cut) == history(whole)


def test_keys_that_do_not_decide_the_training_leave_it_alone(tiny_config, new_workdir):
    workdir, lines = new_workdir("w"), []
    run(tiny_config, workdir, "train.epochs=1")
    others = [
        "export.onnx=true",
        "evaluate.batch_size=3",
        "bless.min_mean_iou=0.9",
        "data.root=elsewhere",
        "name=other",
    ]
    run(tiny_config, workdir, "train.epochs=2", "train.max_minutes=100", *others, lines=lines)
    assert any("going on behind epoch 1" in line for line in lines)
    assert history(workdir)["epoch"] == [0, 1]


def test_another_trainings_epochs_are_set_aside_and_found_again(tiny_config, new_workdir):
    workdir, lines = new_workdir("w"), []
    run(tiny_config, workdir, "train.epochs=2")
    before = weights(workdir)
    run(tiny_config, workdir, "train.epochs=1", "train.learning_rate=0.01", lines=lines)
    assert any("differs in train.learning_rate: starting anew" in line for line in lines)
    assert json.loads((workdir / "train" / "run.json").read_text())["config"]["train"]["learning_rate"] == 0.01
    run(tiny_config, workdir, "train.epochs=2")  # from the epochs that were kept: nothing is trained
    for left, right in zip(before, weights(workdir), strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_finished_training_is_not_trained_again(tiny_config, new_workdir):
    workdir, lines = new_workdir("w"), []
    preset = run(tiny_config, workdir, "train.epochs=1")
    made = (preset / "model.weights.h5").stat().st_mtime_ns
    assert run(tiny_config, workdir, "train.epochs=1", "evaluate.batch_size=2", lines=lines) == preset
    assert lines == ["already trained: all 1 epochs are there"]
    assert (preset / "model.weights.h5").stat().st_mtime_ns == made
    # What lies beside the preset tells of it, and not of a later call.
    assert "batch_size: 16" in (workdir / "train" / "config.yaml").read_text()


def test_the_configuration_beside_a_preset_is_its_own(tiny_config, new_workdir):
    workdir = new_workdir("w")
    run(tiny_config, workdir, "train.epochs=1")
    broken = small_parts(make_callbacks=lambda *_: [Poison(epoch=0)])
    with pytest.raises(TrainingError):
        run(tiny_config, workdir, "train.epochs=1", "train.learning_rate=0.5", parts=broken)
    assert "learning_rate: 0.001" in (workdir / "train" / "config.yaml").read_text()
    record = json.loads((workdir / "train" / "run.json").read_text())
    assert record["status"].startswith("failed: ") and record["code_version"] and record["data"]["manifest.json"]


class Poison(keras.callbacks.Callback):
    """Makes a variable NaN, once: a kernel before the second step of an epoch, or a statistic behind it."""

    def __init__(self, epoch, statistic=False):
        super().__init__()
        self.epoch, self.statistic, self.done = epoch, statistic, False

    def on_epoch_begin(self, epoch, logs=None):
        self._now = epoch == self.epoch and not self.done

    def on_train_batch_end(self, batch, logs=None):
        if self._now and batch == 0 and not self.statistic:
            self.model.trainable_variables[-1].assign_add([float("nan")])
            self.done = True

    def on_train_batch_begin(self, batch, logs=None):
        if self._now and batch == 1 and self.statistic:
            self.model.backbone.non_trainable_variables[-1].assign_add([float("inf")] * 10)
            self.done = True


def test_a_loss_that_is_not_finite_names_its_photos_and_keeps_the_epoch_before(tiny_config, new_workdir):
    workdir = new_workdir("w")
    parts = small_parts(make_callbacks=lambda *_: [Poison(epoch=1)])
    with pytest.raises(
        TrainingError, match=r"the loss is nan at step 2 of epoch 2, on photos .*scenes:.*; refs .*;"
    ) as error:
        run(tiny_config, workdir, "train.epochs=2", parts=parts)
    assert "epoch 1 is kept" in str(error.value) and "\n" not in str(error.value)
    assert not (workdir / "train" / "preset").exists()
    run(tiny_config, workdir, "train.epochs=2", parts=small_parts())
    assert np.isfinite(history(workdir)["loss"]).all()


def test_training_goes_back_to_the_last_whole_epoch_with_half_the_rate(tiny_config, new_workdir):
    workdir, lines, poison = new_workdir("w"), [], Poison(epoch=1)
    rates = []

    def keep_rate(model, config, steps):
        compile_eager(model, config, steps)
        rates.append(config.train.learning_rate)

    parts = small_parts(compile_model=keep_rate, make_callbacks=lambda *_: [poison])
    run(tiny_config, workdir, "train.epochs=2", "train.max_rollbacks=1", parts=parts, lines=lines)
    assert any("going on from there with half of the learning rate" in line for line in lines)
    assert rates[:2] == [1e-3, 5e-4] and history(workdir)["epoch"] == [0, 1]
    assert json.loads((workdir / "train" / "run.json").read_text())["rollbacks"] == [1]


def test_weights_that_are_not_finite_never_replace_a_good_epoch(tiny_config, new_workdir):
    """Batch norm's moving statistics do not enter the training loss."""
    workdir = new_workdir("w")
    parts = small_parts({"trainable_backbone": "all"}, make_callbacks=lambda *_: [Poison(epoch=1, statistic=True)])
    with pytest.raises(TrainingError, match="moving_variance are not finite; epoch 1 is kept"):
        run(tiny_config, workdir, "train.epochs=2", parts=parts)
    kept = list((workdir / "train" / "backups").glob("*/epoch-*"))
    assert [path.name for path in kept] == ["epoch-00001"]


def test_the_best_epoch_becomes_the_preset_and_training_stops_early(tiny_config, new_workdir):
    workdir = new_workdir("w")
    overrides = ["train.epochs=9", "train.best_metric=loss", "train.best_mode=max", "train.early_stop_epochs=1"]
    lines = []
    # With the largest loss as the best, the first epoch counts and a further one ends the training.
    run(tiny_config, workdir, *overrides, "train.keep_backups=2", lines=lines)
    losses = history(workdir)["loss"]
    best = int(np.argmax(losses))
    assert len(losses) == best + 2
    assert any(f"loss not better for 1 validations; stopping behind epoch {best + 2}" in line for line in lines)
    record = json.loads((workdir / "train" / "run.json").read_text())
    assert record["counted_epoch"] == best + 1
    kept = sorted(path.name for path in (workdir / "train" / "backups").glob("*/epoch-*"))
    assert kept == sorted({f"epoch-{number:05d}" for number in (best + 1, best + 2)})
    alone = new_workdir("alone")
    run(tiny_config, alone, f"train.epochs={best + 1}")
    assert_equal_weights(workdir, alone)


def test_the_time_limit_counts_what_was_used_before_a_kill(tiny_config, new_workdir):
    workdir, lines = new_workdir("w"), []
    run(tiny_config, workdir, "train.epochs=1")
    used = json.loads((workdir / "train" / "run.json").read_text())["processor_seconds"]
    assert used > 0
    run(tiny_config, workdir, "train.epochs=3", f"train.max_minutes={used / 60 / 2}", lines=lines)
    assert "already trained: train.max_minutes" in lines[0]


def test_a_part_can_be_replaced_and_the_rest_stays(tiny_config, new_workdir):
    workdir, lines = new_workdir("w"), []

    def own_compile(model, config, steps):
        model.compile(keras.optimizers.SGD(1e-5), weighted_metrics=[], run_eagerly=True)

    for epochs in (1, 2):
        parts = small_parts(compile_model=own_compile)
        run(tiny_config, workdir, f"train.epochs={epochs}", parts=parts, lines=lines)
    assert any("going on behind epoch 1" in line for line in lines)
    assert "mask_mean_iou" not in history(workdir)
    run(tiny_config, workdir, "train.epochs=1", lines=lines)
    assert any("differs in parts.compile_model" in line for line in lines)


FULL_DISK = """
import resource, sys
from tests.lts_keras.training.test_train import run, small_parts
import keras

class Fill(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))

run(sys.argv[1], __import__("pathlib").Path(sys.argv[2]), "train.epochs=3",
    parts=small_parts(make_callbacks=lambda *_: [Fill()]))
"""


def test_a_disk_without_room_ends_in_one_line_and_loses_nothing(tiny_config, new_workdir):
    """A limit on the size of files stands for a full disk: the system refuses the same writes."""
    workdir = new_workdir("w")
    done = run_python("-c", FULL_DISK, tiny_config, workdir)
    assert "TrainingError" in done.stderr and "cannot keep epoch 2: File too large" in done.stderr.splitlines()[-1]
    folders = [path.name for path in (workdir / "train" / "backups").glob("*/*") if path.is_dir()]
    assert folders == ["epoch-00001"]
    lines = []
    run(tiny_config, workdir, "train.epochs=3", parts=small_parts(), lines=lines)
    assert any("going on behind epoch 1" in line for line in lines)


def train_command(config, workdir, *overrides):
    words = ["train", "--config", config, "--workdir", workdir, *SMALL, "model.backbone=darknet_tiny", *overrides]
    return [sys.executable, "-m", "lts_keras.commands.cli", *map(str, words)]


def found(folder, pattern):
    """Whether a file or folder of that name stands anywhere under a folder that another process is changing."""
    # `os.walk` passes over what is renamed or deleted between the listing and the look, where `rglob` fails.
    return any(fnmatch.filter(folders + files, pattern) for _, folders, files in os.walk(folder))


def aside(name):
    return lambda folder: found(folder, f".{name}.new-*")


def whole(number):
    return lambda folder: found(folder, f"epoch-{number:05d}")


KILLS = (
    lambda folder: (folder / "run.json").exists(),
    aside("epoch-00001"),
    whole(1),
    aside("epoch-00002"),
    aside("preset"),
    lambda folder: (folder / "preset").exists(),
)


@pytest.mark.slow
def test_killed_at_every_kind_of_moment_a_training_ends_with_the_same_weights(tiny_config, new_workdir):
    overrides = ("model.locator=transformer", "model.num_heads=2", "model.segmentation=false", "train.epochs=2")
    once, killed = new_workdir("once"), new_workdir("killed")
    assert subprocess.run(train_command(tiny_config, once, *overrides), stdout=subprocess.DEVNULL).returncode == 0
    folder = killed / "train"
    folder.mkdir()
    for moment in KILLS:
        command = train_command(tiny_config, killed, *overrides)
        deadline = time.monotonic() + 240
        with started(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            # A moment of a millisecond may pass unseen; the process then ends by itself.
            while not moment(folder) and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.0005)
    done = subprocess.run(train_command(tiny_config, killed, *overrides), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert_equal_weights(once, killed)
    assert history(killed) == history(once) and len(history(killed)["epoch"]) == 2
    assert not [path for path in folder.rglob(".*") if path.is_dir()]


def test_a_batch_that_cannot_be_shared_out_is_one_line(tiny_config, new_workdir):
    done = subprocess.run(
        train_command(tiny_config, new_workdir("w"), "train.num_devices=4"), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "lts train: train.batch_size must divide by the number of replicas, 4: take 4 or 8, "
        "or a train.num_devices of 1, 2, 3, 6. Received: 6"
    )


def test_a_cache_too_large_is_refused_with_its_size(tiny_config, new_workdir):
    overrides = ["model.trainable_backbone=none", "train.cache_features=true", "train.max_cache_gib=0.00001"]
    command = train_command(tiny_config, new_workdir("w"), *overrides, "weights.backbone=random")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "train.max_cache_gib: 1e-05" in done.stderr and "Traceback" not in done.stderr


def test_training_without_data_is_one_line(tiny_config, tmp_path):
    done = subprocess.run(train_command(tiny_config, tmp_path), capture_output=True, text=True)
    assert done.returncode == 2
    assert "no prepared data here" in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert not (tmp_path / "train" / "preset").exists()


def test_a_training_reads_the_data_that_another_prepared(tiny_config, prepared, tmp_path):
    lines = []
    run(tiny_config, tmp_path / "own", f"data.prepared={prepared}", "train.epochs=1", parts=small_parts(), lines=lines)
    assert sorted(path.name for path in (tmp_path / "own").iterdir()) == ["train"]
    assert len(history(tmp_path / "own")["loss"]) == 1
    # Read as the words that this code makes of them: nothing is to be said.
    assert not any("other code" in line for line in lines)


def test_data_prepared_by_other_code_is_told(tiny_config, prepared, tmp_path):
    shutil.copytree(prepared / "data", tmp_path / "data")
    manifest = json.loads((tmp_path / "data/manifest.json").read_text())
    manifest["code"]["text"] = "0" * 64
    (tmp_path / "data/manifest.json").write_text(json.dumps(manifest))
    lines = []
    run(tiny_config, tmp_path, "train.epochs=1", parts=small_parts(), lines=lines)
    assert any("prepared by other code" in line and "lts prepare" in line for line in lines)
