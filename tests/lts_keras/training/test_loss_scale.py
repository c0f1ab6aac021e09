import keras
import numpy as np
import tensorflow as tf

from lts_keras.training.loss_scale import decide_together
from tests.conftest import run_python

OVERFLOW = """
import sys
import keras, numpy as np, tensorflow as tf
from lts_keras.training.loss_scale import decide_together

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
x, y = np.ones((4, 1), "float32"), np.array([[0], [0], [3000], [0]], "float32")
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0), initial_scale=2.0**118)
    if sys.argv[1] == 'together':
        decide_together(optimizer)
    model.compile(optimizer, loss="mse", jit_compile=False)
# Only the second replica's rows are so far away that the scaled gradient is infinite.
model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
print(*np.concatenate([w.ravel() for w in model.get_weights()]), optimizer.dynamic_scale.numpy() / 2.0**118)
"""


def overflow(how):
    done = run_python("-W", "ignore", "-c", OVERFLOW, how, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    return [float(word) for word in done.stdout.split()]


def test_one_replica_that_overflows_leaves_the_step_out_on_all():
    alone, together = overflow("alone"), overflow("together")
    # Keras as it is: the sum of a finite and an infinite gradient.
    assert not np.isfinite(alone[:2]).all()
    assert together == [1.0, 0.0, 0.5]


def test_one_device_and_other_optimizers_stay_as_they_are():
    plain = keras.optimizers.SGD()
    assert decide_together(plain) is plain and "check_finite" not in vars(plain)
    scaled = decide_together(keras.optimizers.LossScaleOptimizer(plain))
    assert bool(scaled.check_finite([tf.ones(2)])) and not bool(scaled.check_finite([tf.constant([1.0, np.inf])]))
