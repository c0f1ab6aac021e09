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
import hypothesis, keras, numpy as np, tensorflow as tf
from hypothesis import strategies as st
from lts_keras.config.read import parse_config
from lts_keras.data.input.sampling import count_samples
from lts_keras.data.input.training_dataset import training_dataset
from lts_keras.data.prepare.prepare import prepare
from lts_keras.data.text import Tokenizer, read_vocabulary
from lts_keras.losses import lts_losses
from lts_keras.training.devices import make_strategy
from tests.lts_keras.models.test_lts import small

parts = [tf.config.LogicalDeviceConfiguration()] * 8
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
results = []

def scenes(folder, photos):
    source = {"kind": "scenes", "num_photos": {"train": photos}, "photo_size": [40, 60]}
    prepare(parse_config({"data": {"sources": [source]}, "name": "scenes"}), folder)
    return os.path.join(folder, "data")

def epoch(data, devices, batch, sampling, expressions, locator):
    keras.utils.set_random_seed(3)
    words = read_vocabulary(os.path.join(data, "vocabulary.txt"))
    steps = -(-count_samples(data, "train", sampling) // batch)
    with make_strategy(devices).scope():
        model = small(vocabulary=words, locator=locator, trainable_backbone="all", dropout=0.0)
        model.compile(keras.optimizers.SGD(1e-5), **lts_losses())
        dataset = training_dataset(
            data, Tokenizer(words, 5), image_size=32, batch_size=batch, sampling=sampling,
            expressions_per_image=expressions, deterministic=True, repeat=True, epochs=1,
        )
    loss = model.fit(dataset, epochs=1, steps_per_epoch=steps, verbose=0).history["loss"][0]
    return loss, model.get_weights()

@hypothesis.settings(max_examples=int(sys.argv[1]), deadline=None, derandomize=True, database=None,
                     suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(
    devices=st.sampled_from([2, 3, 4, 8]), share=st.integers(1, 2), photos=st.integers(1, 9),
    sampling=st.sampled_from(["per_image", "per_ref", "per_expression"]), expressions=st.integers(1, 4),
    locator=st.sampled_from(["filter", "word_filter", "transformer", None]),
)
def check(devices, share, photos, sampling, expressions, locator):
    with tempfile.TemporaryDirectory() as folder:
        data = scenes(folder, photos)
        case = (devices * share, sampling, expressions, locator)
        (loss, many), (loss_of_one, one) = (epoch(data, count, *case) for count in (devices, 1))
    # Relative to the size of each tensor: the smallest are offsets of batch norm that start at 0.
    gap = max(float(np.abs(a - b).max()) / max(1.0, float(np.abs(b).max())) for a, b in zip(many, one))
    results.append({"gap": gap, "loss": abs(loss / loss_of_one - 1), "case": [devices, photos, *case]})
    assert gap < 1e-5 and abs(loss / loss_of_one - 1) < 1e-4, results[-1]

check()
print(json.dumps(results))
"""


@pytest.mark.slow
def test_an_epoch_on_many_devices_is_that_of_one():
    """Whatever the devices, batch, samples, sentences a photo and locator: batch norm trained, odd sizes, real data."""
    done = run_python("-c", STEP, 8, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(done.stdout.splitlines()[-1])
    assert len({one["case"][0] for one in results}) > 1
    # Not trivially equal: something was trained, and sums in another order leave a trace.
    assert any(one["gap"] > 0 for one in results)


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
