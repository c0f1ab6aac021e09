import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from lts_keras.config.errors import ConfigError
from lts_keras.training.devices import check_batch, make_strategy
from tests.conftest import run_python
from tests.lts_keras.models.test_lts import small


@pytest.mark.parametrize(
    ("batch_size", "replicas", "words"),
    [
        (18, 4, "number of replicas, 4: take 16 or 20, or a train.num_devices of 1, 2, 3, 6, 9, 18. Received: 18"),
        (3, 8, "number of replicas, 8: take 8, or a train.num_devices of 1, 3. Received: 3"),
        (60, 7, "take 56 or 63, or a train.num_devices of 1, 2, 3, 4, 5, 6, 10, .... Received: 60"),
    ],
)
def test_a_batch_that_does_not_divide_is_refused_with_what_would(batch_size, replicas, words):
    with pytest.raises(ConfigError) as error:
        check_batch(batch_size, replicas)
    assert str(error.value).endswith(words) and "\n" not in str(error.value)


def test_a_batch_that_divides_is_taken():
    for replicas in (1, 2, 3, 6, 9, 18):
        check_batch(18, replicas)


def test_more_devices_than_there_are_is_refused():
    make_strategy(1)
    tf.config.list_logical_devices()  # the processor can be split only before its first use
    with pytest.raises(ConfigError, match=r"train.num_devices: this process has \d+ CPU device"):
        make_strategy(64)


def test_one_device_has_no_strategy_of_its_own():
    assert type(make_strategy(1)).__name__ == "_DefaultDistributionStrategy"


STEP = """
import json, os, sys, tempfile
import keras, numpy as np, tensorflow as tf
from lts_keras.config.read import parse_config
from lts_keras.data.input.sampling import count_samples
from lts_keras.data.input.training_dataset import training_dataset
from lts_keras.data.prepare.prepare import prepare
from lts_keras.data.text import Tokenizer, read_vocabulary
from lts_keras.losses import lts_losses
from lts_keras.training.devices import make_strategy
from tests.lts_keras.models.test_lts import small

tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})  # takes longer than the one step
strategy, results = make_strategy(int(sys.argv[1])), []

def scenes(folder, photos):
    source = {"kind": "scenes", "num_photos": {"train": photos}, "photo_size": [40, 60]}
    prepare(parse_config({"data": {"sources": [source]}, "name": "scenes"}), folder)
    return os.path.join(folder, "data")

def last_step(data, devices, batch, sampling, expressions, locator):
    keras.utils.set_random_seed(3)
    words = read_vocabulary(os.path.join(data, "vocabulary.txt"))
    steps = -(-count_samples(data, "train", sampling) // batch)
    # A process has one strategy of several devices: a second one would break its collectives.
    with (strategy if devices > 1 else tf.distribute.get_strategy()).scope():
        model = small(vocabulary=words, locator=locator, trainable_backbone="all", dropout=0.0)
        model.compile(keras.optimizers.SGD(1e-5), **lts_losses())
        dataset = training_dataset(
            data, Tokenizer(words, 5), image_size=32, batch_size=batch, sampling=sampling,
            expressions_per_image=expressions, deterministic=True, repeat=True, epochs=1,
        )
    # One step alone: a batch norm over two rows magnifies rounding from step to step.
    loss = model.fit(dataset.skip(steps - 1), steps_per_epoch=1, verbose=0).history["loss"][0]
    return loss, model.get_weights()

def check(devices, rng):
    draw = lambda *values: values[rng.integers(len(values))]
    photos, batch, expressions = int(rng.integers(2, 9)), devices * draw(1, 2), draw(1, 2, 3, 4)
    sampling = draw("per_image", "per_ref", "per_expression")
    locator = draw("filter", "word_filter", "transformer", None)
    with tempfile.TemporaryDirectory() as folder:
        data, case = scenes(folder, photos), (batch, sampling, expressions, locator)
        (loss, many), (loss_of_one, one) = (last_step(data, count, *case) for count in (devices, 1))
    # Relative to the size of each tensor: the smallest are offsets of batch norm that start at 0.
    gap = max(float(np.abs(a - b).max()) / max(1.0, float(np.abs(b).max())) for a, b in zip(many, one))
    results.append({"gap": gap, "loss": abs(loss / loss_of_one - 1), "case": [devices, photos, *case]})
    assert gap < 1e-5 and abs(loss / loss_of_one - 1) < 1e-4, results[-1]

devices, *seeds = map(int, sys.argv[1:])
for seed in seeds:
    check(devices, np.random.default_rng([seed, devices]))
print(json.dumps(results))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "seed"), [(2, 1), (3, 0), (4, 2)])
def test_the_last_step_of_an_epoch_on_many_devices_is_that_of_one(devices, seed):
    """Whatever the batch, samples, sentences a photo and locator, drawn at random: batch norm trained, odd sizes."""
    done = run_python("-c", STEP, devices, seed, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    (result,) = json.loads(done.stdout.splitlines()[-1])
    assert result["case"][0] == devices and 0 < result["gap"] < 1e-5


@pytest.mark.slow
def test_a_step_that_xla_compiled_is_the_same_step():
    rng = np.random.default_rng(0)
    x = {"image": rng.random((2, 32, 32, 3), "float32"), "token_ids": rng.integers(1, 7, (2, 3, 5)).astype("int32")}
    y = {"mask": rng.integers(0, 2, (2, 3, 8, 8, 1)), "prior": rng.integers(0, 2, (2, 3, 4, 4, 1))}
    trained = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(0)
        model = small(trainable_backbone="all")
        model.compile(keras.optimizers.SGD(1e-4), jit_compile=jit_compile)
        model.fit(x, {name: value.astype("float32") for name, value in y.items()}, epochs=2, verbose=0)
        trained.append(model.get_weights())
    for one, other in zip(*trained, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


WITH_IDS = """
import os, sys, tempfile
import keras, tensorflow as tf
from lts_keras.config.read import parse_config
from lts_keras.data.input.training_dataset import training_dataset
from lts_keras.data.prepare.prepare import prepare
from lts_keras.data.text import Tokenizer, read_vocabulary
from lts_keras.models.lts import LTS
from lts_keras.training.devices import make_strategy
from tests.lts_keras.models.test_lts import small

tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
strategy = make_strategy(2)
with tempfile.TemporaryDirectory() as folder:
    source = {"kind": "scenes", "num_photos": {"train": 3}, "photo_size": [40, 60]}
    prepare(parse_config({"data": {"sources": [source]}, "name": "scenes"}), folder)
    data = os.path.join(folder, "data")
    words = read_vocabulary(os.path.join(data, "vocabulary.txt"))
    with strategy.scope():
        model = small(vocabulary=words)
        model.compile()
        dataset = training_dataset(
            data, Tokenizer(words, 5), image_size=32, batch_size=2, sampling="per_image", expressions_per_image=2,
            repeat=True, epochs=1, ids=True,
        )
    assert dataset.element_spec[0]["photo_id"].dtype == "string"
    print(model.fit(dataset, steps_per_epoch=2, verbose=0).history["loss"])
"""


@pytest.mark.slow
def test_samples_may_carry_their_ids_on_several_devices():
    done = run_python("-c", WITH_IDS, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
