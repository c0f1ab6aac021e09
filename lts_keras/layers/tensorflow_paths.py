"""Fast forms on TensorFlow, with the numbers of the general form, which all other backends take.

Only what was measured to be worth it is here. `benchmarks/training_step.py` and `benchmarks/against_pytorch.py` time
the whole.
"""

import functools

import keras
from keras import ops

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
else:
    tf = None

__all__ = ["convolve"]


def convolve(x, kernel, dilation_rate=1):
    """Convolution at stride 1 that keeps the size ("same").

    `keras.ops.conv` moves a dilated convolution through SpaceToBatch on TensorFlow, forward and backward: up to nine
    times as slow as the native one, whose gradients are native too.

    Args:
        x: Float tensor `(batch, height, width, c)`.
        kernel: Tensor `(side, side, c, filters)` of the same dtype.
        dilation_rate: int. Defaults to `1`.

    Returns:
        Tensor `(batch, height, width, filters)` of the same dtype.
    """
    if _is_symbolic(x) or dilation_rate == 1 or not _native_dilation(keras.backend.standardize_dtype(x.dtype)):
        return ops.conv(x, kernel, padding="same", dilation_rate=dilation_rate)
    return tf.nn.conv2d(x, kernel, strides=1, padding="SAME", dilations=dilation_rate)


def _is_symbolic(x):
    return tf is None or isinstance(x, keras.KerasTensor)


@functools.cache
def _native_dilation(dtype):
    """Whether a native dilated convolution has its gradients: on GPUs yes, on processors through oneDNN alone."""
    with tf.init_scope():
        options = {"strides": [1] * 4, "padding": "SAME", "dilations": [1, 2, 2, 1]}
        kernel, gradient = tf.ones((3, 3, 2, 2), dtype), tf.ones((1, 5, 5, 2), dtype)
        try:
            tf.raw_ops.Conv2DBackpropInput(input_sizes=[1, 5, 5, 2], filter=kernel, out_backprop=gradient, **options)
        except tf.errors.OpError:
            return False
    return True
