import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from lts_keras.layers.tensorflow_paths import _native_dilation, convolve
from tests.conftest import run_python

GRADIENTS = """
import tensorflow as tf
from lts_keras.layers.tensorflow_paths import convolve

@tf.function(autograph=False)
def gradient(x, kernel):
    return tf.gradients(convolve(x, kernel, 2), [x, kernel])

x, kernel = tf.ones((2, 6, 6, 3), DTYPE), tf.ones((3, 3, 3, 4), DTYPE)
print(float(tf.reduce_sum(tf.cast(gradient(x, kernel)[1], tf.float32))))
print(sum(node.op == "SpaceToBatchND" for node in gradient.get_concrete_function(x, kernel).graph.as_graph_def().node))
"""


@settings(max_examples=25)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    channels=st.integers(1, 5),
    filters=st.integers(1, 4),
    rate=st.integers(1, 12),
    seed=st.integers(0, 9),
)
def test_dilated_convolution_and_its_gradients_are_keras_own(height, width, channels, filters, rate, seed):
    random = np.random.default_rng(seed)
    x = tf.constant(random.normal(size=(2, height, width, channels)), tf.float32)
    kernel = tf.constant(random.normal(size=(3, 3, channels, filters)), tf.float32)
    results = []
    for function in (convolve, lambda x, kernel, rate: ops.conv(x, kernel, padding="same", dilation_rate=rate)):
        with tf.GradientTape() as tape:
            tape.watch((x, kernel))
            outputs = function(x, kernel, rate)
            total = tf.reduce_sum(outputs**2)
        results.append([outputs, *tape.gradient(total, (x, kernel))])
    for ours, keras_own in zip(*results, strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dilated_convolution_is_native_where_its_gradients_are(dtype):
    arguments = (tf.ones((1, 6, 6, 3), dtype), tf.ones((3, 3, 3, 4), dtype), 2)
    graph = tf.function(convolve, autograph=False).get_concrete_function(*arguments).graph
    found = [node.op for node in graph.as_graph_def().node if node.op in ("Conv2D", "SpaceToBatchND")]
    assert found == (["Conv2D"] if _native_dilation(dtype) else ["SpaceToBatchND", "Conv2D"])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_without_onednn_the_gradients_are_there_too(dtype, monkeypatch):
    """On a processor TensorFlow has no gradient of a dilated convolution without oneDNN, which float16 has never."""
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    done = run_python("-c", GRADIENTS.replace("DTYPE", repr(dtype)))
    assert done.returncode == 0, done.stderr[-2000:]
    # 36 positions of 2 maps; at rate 2 a tap off the centre meets 4 of 6 rows or columns: 3 x 4 (6 + 4 + 4)^2 x 2
    total, moved = done.stdout.split()
    assert float(total) == 3 * 4 * 14**2 * 2 and int(moved) > 0
