import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from lts_keras.adam import Adam
from tests.conftest import run_python

START = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")

REPLICAS = """
import json
import numpy as np
import tensorflow as tf
from lts_keras.adam import Adam

cpus = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], cpus)

def train(strategy):
    with strategy.scope():
        import keras
        variable = keras.Variable([[1.0, -2.0], [3.0, 0.5]])
        optimizer = Adam(0.1)
        optimizer.build([variable])

    @tf.function(autograph=False)
    def step(gradient):
        optimizer.apply_gradients([(gradient, variable)])

    for number in range(3):
        share = strategy.experimental_distribute_values_from_function(
            lambda context: tf.ones((2, 2)) * (number + 1) / context.num_replicas_in_sync
        )
        strategy.run(step, args=(share,))
    return variable.numpy()

one, two = train(tf.distribute.OneDeviceStrategy("cpu:0")), train(tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"]))
print(json.dumps([float(np.abs(one - two).max()), float(one[0, 0])]))
"""


def train(optimizer, gradients, **options):
    """Values after one step for each gradient."""
    variable = keras.Variable(START)
    optimizer.build([variable])

    @tf.function(**options)
    def step(gradient):
        optimizer.apply_gradients([(gradient, variable)])

    for gradient in gradients:
        step(gradient)
    return variable.numpy(), [np.asarray(value) for value in optimizer.variables]


def random_gradients(count=5):
    random = np.random.default_rng(1)
    return [tf.constant(random.normal(size=START.shape), tf.float32) for _ in range(count)]


def test_first_step_by_hand():
    values, _ = train(Adam(0.1, epsilon=1e-8), [tf.constant(np.where(START > 0, 7.0, -0.5), tf.float32)])
    np.testing.assert_allclose(values, START - 0.1 * np.sign(START), atol=1e-6)  # the gradient over its own size


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
        {"weight_decay": 0.1},
        {"global_clipnorm": 0.5},
        {"use_ema": True, "ema_momentum": 0.5},
        {"amsgrad": True},
    ],
)
def test_numbers_and_state_are_keras_own(options):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    ours, theirs = (train(cls(schedule, **options), random_gradients()) for cls in (Adam, keras.optimizers.Adam))
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5, atol=1e-6)
    for mine, keras_own in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_allclose(mine, keras_own, rtol=1e-5, atol=1e-6)


def test_rows_of_a_word_that_occurs_twice_are_summed():
    rows = tf.constant([[1.0, 2.0, 3.0], [3.0, -2.0, 1.0], [1.0, 1.0, 1.0]])
    sparse = tf.IndexedSlices(rows, tf.constant([1, 1, 3]), tf.constant(START.shape))
    dense = tf.constant([[0.0, 0, 0], [4, 0, 4], [0, 0, 0], [1, 1, 1]])
    results = [train(Adam(0.1), [gradient] * 2)[0] for gradient in (sparse, dense)]
    np.testing.assert_allclose(*results, atol=1e-7)


def test_compiled_by_xla_it_is_the_same():
    results = [train(Adam(0.1), random_gradients(), jit_compile=jit)[0] for jit in (False, True)]
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-6)


def test_comes_back_from_its_config():
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(Adam(0.02, beta_1=0.8)))
    assert type(again) is Adam and again.beta_1 == 0.8


def test_two_replicas_make_the_step_of_one_device():
    done = run_python("-c", REPLICAS)
    assert done.returncode == 0, done.stderr[-2000:]
    difference, first = json.loads(done.stdout.splitlines()[-1])
    assert difference < 1e-6 and first < 0.8
