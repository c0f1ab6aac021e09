"""Two processes with a device each are one process with two devices; a worker that is lost ends the run on all."""

import json
import signal
import time

import numpy as np
import pytest

from lts_keras.config.read import parse_config
from lts_keras.data.prepare.prepare import prepare
from tests.conftest import run_python
from tests.lts_keras.training.workers import output, started_workers, wait

EQUAL = """
import json, os, sys
import keras, numpy as np, tensorflow as tf
from lts_keras.data.input.sampling import count_samples
from lts_keras.data.input.training_dataset import training_dataset
from lts_keras.data.text import Tokenizer, read_vocabulary
from lts_keras.losses import lts_losses
from lts_keras.metrics import lts_metrics
from lts_keras.training.loss_scale import decide_together
from lts_keras.training.optimizers import ScaledAdam
from lts_keras.training.worker_loop import fit
from lts_keras.training.workers import multi_worker_strategy
from tests.lts_keras.models.test_lts import small

tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})  # takes longer than these few steps
data, results, index = sys.argv[1:]
several = "TF_CONFIG" in os.environ
if several:
    strategy = multi_worker_strategy()
else:
    parts = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
words = read_vocabulary(os.path.join(data, "vocabulary.txt"))

class Batches(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(logs)

class StopOnOne(keras.callbacks.Callback):
    # On one machine at once, on several on the last alone.
    def on_train_batch_end(self, batch, logs=None):
        if batch == 1 and (not several or index == "1"):
            self.model.stop_training = True

class OwnStep(keras.Model):
    def train_step(self, data):
        logs = super().train_step(data)
        return {**logs, "twice": 2 * logs["loss"]}

def lts(sampling):
    model = small(vocabulary=words, trainable_backbone="all", image_size=32, locator=None, segmentation=False)
    model.compile(ScaledAdam(1e-3, global_clipnorm=0.5), weighted_metrics=lts_metrics(0.25), **lts_losses())
    arguments = {"image_size": 32, "batch_size": 4, "sampling": sampling, "expressions_per_image": 2,
                 "drop_remainder": True}
    train = training_dataset(data, Tokenizer(words, 5), deterministic=True, repeat=True, **arguments)
    held_out = training_dataset(data, Tokenizer(words, 5), deterministic=True, shuffle=False, **arguments)
    # Without its length, Keras' fit under MirroredStrategy counts one empty batch more in the validation loss.
    held_out = held_out.apply(tf.data.experimental.assert_cardinality(sum(1 for _ in held_out)))
    return model, train, held_out, []

def tiny(optimizer, cls=keras.Model, dtype="float32", callbacks=()):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 3)).astype("float32"), rng.normal(size=(24, 2)).astype("float32")
    inputs = keras.Input((3,))
    policy = keras.DTypePolicy(dtype)
    h = keras.layers.Dense(4, dtype=policy)(inputs)
    h = keras.layers.Dropout(0.2, dtype=policy)(keras.layers.BatchNormalization(synchronized=True, dtype=policy)(h))
    outputs = {"a": keras.layers.Dense(2, dtype=policy)(h), "b": keras.layers.Dense(2, dtype=policy)(h)}
    model = cls(inputs, outputs)
    model.compile(optimizer, loss={"a": "mse", "b": "mae"}, loss_weights={"a": 1.0, "b": 0.3},
                  weighted_metrics={"a": ["mae"]})
    weights = {"a": rng.uniform(0, 2, 24).astype("float32"), "b": rng.uniform(0, 2, 24).astype("float32")}
    examples = tf.data.Dataset.from_tensor_slices((x, {"a": y, "b": -y}, weights))
    # The last batch of validation is smaller.
    return model, examples.repeat().batch(6, drop_remainder=True), examples.batch(10), list(callbacks)

CASES = {
    "per_image": lambda: lts("per_image"),
    "ema": lambda: tiny(keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.8, weight_decay=0.01),
                        callbacks=[keras.callbacks.SwapEMAWeights(swap_on_epoch=False)]),
    "float16": lambda: tiny(keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.05), initial_scale=2.0**20, dynamic_growth_steps=2), dtype="mixed_float16"),
    "own_step_and_stop": lambda: tiny(keras.optimizers.SGD(0.05), OwnStep, callbacks=[StopOnOne()]),
}
for name, case in CASES.items():
    keras.utils.set_random_seed(5)
    with strategy.scope():
        model, train, held_out, callbacks = case()
    decide_together(model.optimizer)
    batches = Batches()
    arguments = dict(epochs=2, steps_per_epoch=3, validation_data=held_out, callbacks=[*callbacks, batches])
    # Keras averages a first batch over the replicas, which it cannot do with per_image's `expression_mask`.
    if several or name == "per_image":
        history = fit(model, train, strategy=strategy, **arguments)
    else:
        history = model.fit(train, shuffle=False, verbose=0, **arguments)
    place = os.path.join(results, f"{name}-{index}")
    optimizer = [value.numpy() for value in model.optimizer.variables]
    np.savez(place + ".npz", *model.get_weights(), *optimizer)
    with open(place + ".json", "w") as file:
        json.dump({"history": history.history, "batches": batches.seen}, file)
"""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Prepared scenes: 6 photos."""
    folder = tmp_path_factory.mktemp("scenes")
    source = {"kind": "scenes", "num_photos": {"train": 6}, "photo_size": [40, 60]}
    prepare(parse_config({"data": {"sources": [source]}, "name": "scenes"}), folder)
    return folder / "data"


@pytest.mark.slow  # 60 s: four models on three processes
def test_two_processes_are_one_process_with_two_devices(scenes, tmp_path):
    words = ["-W", "ignore", "-c", EQUAL, scenes, tmp_path]
    with started_workers(2, [*words, "{index}"], tmp_path / "logs") as workers:
        one = run_python(*words, "both", timeout=400)
        assert wait(workers, 400) == [0, 0], output(tmp_path / "logs", 2)
    assert one.returncode == 0, one.stderr[-3000:]
    for name in ("per_image", "ema", "float16", "own_step_and_stop"):
        expected = json.loads((tmp_path / f"{name}-both.json").read_text())
        weights = np.load(tmp_path / f"{name}-both.npz")
        for index in range(2):
            seen = json.loads((tmp_path / f"{name}-{index}.json").read_text())
            assert_close(seen, expected, name)
            own = np.load(tmp_path / f"{name}-{index}.npz")
            assert own.files == weights.files
            for key in own.files:
                np.testing.assert_allclose(own[key], weights[key], rtol=1e-5, atol=1e-5, err_msg=f"{name} {key}")
    stopped = json.loads((tmp_path / "own_step_and_stop-0.json").read_text())
    assert len(stopped["batches"]) == 2 and "twice" in stopped["history"]


CONFIG = """name: several
data: {sources: [{kind: scenes, num_photos: {train: 8}, photo_size: [40, 60]}]}
model: {image_size: 32, backbone: darknet_tiny, trainable_backbone: all, embedding_dim: 8, gru_units: 8, joint_dim: 16,
  fusion_dim: 8, locator: null, segmentation: false}
weights: {backbone: random}
train: {epochs: 2, batch_size: 4, sampling: per_image, expressions_per_image: 2, validation_split: null}
"""


@pytest.mark.slow  # 60 s: four starts of a training
def test_a_killed_worker_ends_the_run_in_a_line_and_the_run_goes_on(tmp_path):
    config, workdir = tmp_path / "several.yaml", tmp_path / "run"
    config.write_text(CONFIG)
    lts = ["-m", "lts_keras.commands.cli"]
    assert run_python(*lts, "prepare", "--config", config, "--workdir", workdir, timeout=200).returncode == 0
    train = [*lts, "train", "--config", config, "--workdir", workdir]
    with started_workers(2, train, tmp_path / "first") as workers:
        end = time.monotonic() + 300
        while not list(workdir.glob("train/backups/*/epoch-00001")) and time.monotonic() < end:
            assert workers[0].poll() is None, output(tmp_path / "first", 2)
            time.sleep(0.05)
        workers[1].send_signal(signal.SIGKILL)
        killed = time.monotonic()
        # 6 to 13 s where the processors are free.
        assert wait(workers, 180) == [1, -signal.SIGKILL], output(tmp_path / "first", 2)
        print(f"ended {time.monotonic() - killed:.1f} s after the kill")
    errors = (tmp_path / "first" / "0.err").read_text()
    said = [line for line in errors.splitlines() if "lost" in line]
    assert len(said) == 1 and "lost worker 1 (127.0.0.1:" in said[0] and "Traceback" not in errors, errors
    with started_workers(2, train, tmp_path / "second") as workers:
        assert wait(workers, 300) == [0, 0], output(tmp_path / "second", 2)
    for index in range(2):
        assert "going on behind epoch" in (tmp_path / "second" / f"{index}.out").read_text()
    history = json.loads((workdir / "train" / "history.json").read_text())
    assert history["epoch"] == [0, 1] and None not in history["loss"]
    assert (workdir / "train" / "preset" / "model.weights.h5").is_file()


MEETING = """
import sys
from lts_keras.commands.commandline import run_command
from lts_keras.training.workers import barrier, multi_worker_strategy

def meet():
    strategy = multi_worker_strategy()
    barrier(strategy)
    print("met", flush=True)
    while True:
        barrier(strategy)

sys.exit(run_command("meeting", meet))
"""


def test_a_worker_lost_between_two_steps_ends_the_others_in_a_line(tmp_path):
    # TensorFlow leaves a pool of threads unclosed where a sum outside of a graph fails; Python may trip over it at its
    # end, a matter of chance, and warns of it always.
    with started_workers(2, ["-W", "always::ResourceWarning", "-c", MEETING], tmp_path) as workers:
        end = time.monotonic() + 120
        while "met" not in (tmp_path / "0.out").read_text() and time.monotonic() < end:
            assert workers[0].poll() is None, output(tmp_path, 2)
            time.sleep(0.05)
        workers[1].send_signal(signal.SIGKILL)
        assert wait(workers, 120) == [1, -signal.SIGKILL], output(tmp_path, 2)
    errors = (tmp_path / "0.err").read_text()
    assert errors.count("meeting: lost worker 1 (127.0.0.1:") == 1 and "Traceback" not in errors, errors
    assert "unclosed running multiprocessing pool" not in errors, errors


def assert_close(seen, expected, name):
    """Equal structures, with numbers that agree to 1e-5."""
    if isinstance(expected, dict):
        assert list(seen) == list(expected), name
        seen, expected = list(seen.values()), list(expected.values())
    if isinstance(expected, list):
        assert len(seen) == len(expected), name
        for one, other in zip(seen, expected, strict=True):
            assert_close(one, other, name)
    else:
        assert isinstance(seen, float) and seen == pytest.approx(expected, rel=1e-5, abs=1e-5), name
