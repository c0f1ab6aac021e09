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

__all__ = [
    "convolve",
    "fused_batch_norm",
    "is_symbolic",
    "look_up",
    "num_replicas",
    "replicas_in_scope",
    "synchronized_batch_norm",
    "trained_batch_norm",
    "upsample_nearest",
]


def convolve(x, kernel, dilation_rate=1):
    """Convolution at stride 1 that keeps the size ("same").

    `keras.ops.conv` moves a dilated convolution through SpaceToBatch on TensorFlow, forward and backward: up to nine
    times as slow as the native one, whose gradients are native too. Taps that meet nothing but padding, because the
    map is no larger than the rate, are left out.

    Args:
        x: Float tensor `(batch, height, width, c)`.
        kernel: Tensor `(side, side, c, filters)` of the same dtype.
        dilation_rate: int. Defaults to `1`.

    Returns:
        Tensor `(batch, height, width, filters)` of the same dtype.
    """
    for axis in (0, 1):
        if x.shape[axis + 1] is not None and x.shape[axis + 1] <= dilation_rate and kernel.shape[axis] > 1:
            center = kernel.shape[axis] // 2
            kernel = kernel[center : center + 1] if axis == 0 else kernel[:, center : center + 1]
    if kernel.shape[0] == kernel.shape[1] == 1:
        dilation_rate = 1
    if is_symbolic(x) or dilation_rate == 1 or not _native_dilation(keras.backend.standardize_dtype(x.dtype)):
        return ops.conv(x, kernel, padding="same", dilation_rate=dilation_rate)
    return tf.nn.conv2d(x, kernel, strides=1, padding="SAME", dilations=dilation_rate)


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


def look_up(table, rows):
    """Rows of a table, with a dense gradient.

    The gradient of a plain lookup lists a row for every lookup. Replicas with unequal numbers of sentences could not
    sum such lists, and optimizers square the rows of a repeated word one by one.

    Args:
        table: Float tensor `(count, width)`.
        rows: Integer tensor `(...)`.

    Returns:
        Tensor `(..., width)` of the dtype of `table`.
    """
    # Read here: a function with a gradient of its own must not meet the variable itself.
    table = tf.convert_to_tensor(table)
    shape = tuple(table.shape)

    @tf.custom_gradient
    def gather(table):
        def gradient(found):
            flat = tf.reshape(found, (-1, shape[1]))
            return tf.math.unsorted_segment_sum(flat, tf.reshape(rows, [-1]), shape[0])

        return tf.gather(table, rows), gradient

    return gather(table)


def fused_batch_norm(x, gamma, beta, epsilon, moving):
    """Batch norm with given statistics, in one kernel; the convolution before it can take it in.

    Args:
        x: Float tensor `(batch, height, width, channels)`.
        gamma, beta: Float32 tensors `(channels,)`.
        epsilon: float.
        moving: mean and variance, float32 tensors `(channels,)`.

    Returns:
        Tensor of the shape and dtype of `x`.
    """
    return tf.raw_ops.FusedBatchNormV3(
        x=x, scale=gamma, offset=beta, mean=moving[0], variance=moving[1], epsilon=epsilon, is_training=False
    ).y


def trained_batch_norm(x, gamma, beta, epsilon):
    """Batch norm with the statistics of `x` itself, in one kernel.

    Arguments as `fused_batch_norm`.

    Returns:
        Tuple of the outputs and of float32 mean and variance `(channels,)`; the kernel's unbiased variance made the
        biased one.
    """
    empty = tf.zeros([0])
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x, scale=gamma, offset=beta, mean=empty, variance=empty, epsilon=epsilon, is_training=True
    )
    count = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
    return outputs, mean, variance * ((count - 1) / count)


def synchronized_batch_norm(x, gamma, beta, epsilon):
    """Batch norm with the statistics of `x` on all replicas together, in float32; called on each of them.

    One sum over the replicas brings the count, mean and centred second moment of each of them to all. They are put
    together after Chan et al., with no difference of large squares: a batch norm over few rows that are nearly equal
    would magnify its rounding. Replicas may have unequal numbers of rows, or none.

    Args:
        x: Float tensor `(..., channels)`.
        gamma, beta, epsilon: as `fused_batch_norm`.

    Returns:
        As `trained_batch_norm`, mean and variance over all replicas.
    """
    replica = tf.distribute.get_replica_context()
    axes, values = list(range(len(x.shape) - 1)), tf.cast(x, tf.float32)
    channels = x.shape[-1]
    count = tf.cast(tf.size(x) // channels, tf.float32)
    own_mean = tf.reduce_sum(values, axes) / tf.maximum(count, 1)
    own_moment = tf.reduce_sum((values - own_mean) ** 2, axes)
    # Each replica fills its own row of a table; the sum of the tables is the table of all.
    place = tf.one_hot(replica.replica_id_in_sync_group, num_replicas())
    table = place[:, None] * tf.concat([count[None], own_mean, own_moment], axis=0)
    counts, means, moments = tf.split(replica.all_reduce(tf.distribute.ReduceOp.SUM, table), [1, channels, channels], 1)
    total = tf.maximum(tf.reduce_sum(counts), 1)
    mean = tf.reduce_sum(means * counts, 0) / total
    variance = tf.reduce_sum(moments + counts * (means - mean) ** 2, 0) / total
    outputs = (values - mean) * (gamma * tf.math.rsqrt(variance + epsilon)) + beta
    return tf.cast(outputs, x.dtype), mean, variance


def upsample_nearest(x):
    """Nearest x2 upsampling of a map whose size is known, with a gradient that XLA can compile too.

    Args:
        x: Float tensor `(batch, height, width, channels)`.

    Returns:
        Tensor `(batch, 2 * height, 2 * width, channels)`.
    """

    @tf.custom_gradient
    def upsample(x):
        # The resize operation's own gradient is as fast, and has no form for XLA.
        outputs = tf.raw_ops.ResizeNearestNeighbor(images=x, size=[2 * x.shape[1], 2 * x.shape[2]])
        return outputs, lambda gradient: 4 * tf.nn.avg_pool2d(gradient, 2, 2, "VALID")

    return upsample(x)


def num_replicas():
    """Replicas among which the code that runs now is one; 1 outside of a strategy's `run`."""
    if tf is None or tf.distribute.in_cross_replica_context():
        return 1
    return tf.distribute.get_strategy().num_replicas_in_sync


def replicas_in_scope():
    """Replicas of the strategy in whose scope this is called, where a model is built; 1 without one."""
    return 1 if tf is None else tf.distribute.get_strategy().num_replicas_in_sync


def is_symbolic(x):
    """Whether `x` only stands for a value, or the backend is not TensorFlow: then the general form is taken."""
    return tf is None or isinstance(x, keras.KerasTensor)
