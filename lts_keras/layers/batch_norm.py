"""Batch norm: Keras' numbers through TensorFlow's fused kernel, and statistics over all replicas of a strategy."""

import keras
from keras import ops

from lts_keras.layers.tensorflow_paths import (
    fused_batch_norm,
    is_symbolic,
    num_replicas,
    synchronized_batch_norm,
    trained_batch_norm,
)

__all__ = ["BatchNormalization"]


@keras.saving.register_keras_serializable(package="lts_keras")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` that is fast on TensorFlow and right on several devices.

    Keras writes batch norm out as elementwise operations. On TensorFlow, maps of rank 4 go through one kernel instead,
    in training (about a third of the time, forward and backward) and in inference, where the convolution before it
    can take it in. The statistics are Keras': the moving average takes the biased variance.

    A replica often has two examples, and a batch norm over two rows leaves one bit of each channel. So the statistics
    are those of the whole batch, over all replicas, unless that is switched off.

    Args:
        synchronized: bool, or `None`: wherever the layer runs on more than one replica. Defaults to `None`.
        **kwargs: as `keras.layers.BatchNormalization`.

    Call arguments are those of `keras.layers.BatchNormalization`.
    """

    def __init__(self, synchronized=None, **kwargs):
        super().__init__(synchronized=bool(synchronized), **kwargs)
        self.synchronized = synchronized

    def call(self, inputs, training=None, mask=None):
        plain = mask is None and self.axis in (-1, len(inputs.shape) - 1) and not self.renorm
        if is_symbolic(inputs) or not plain:
            return super().call(inputs, training=training, mask=mask)
        training = bool(training) and self.trainable
        synchronized = training and self.synchronized is not False and num_replicas() > 1
        if not synchronized and len(inputs.shape) != 4:
            return super().call(inputs, training=training)
        x = ops.cast(inputs, self.compute_dtype)
        gamma = ops.convert_to_tensor(self.gamma) if self.scale else ops.ones_like(self.moving_mean)
        beta = ops.convert_to_tensor(self.beta) if self.center else ops.zeros_like(self.moving_mean)
        moving = [ops.convert_to_tensor(value) for value in (self.moving_mean, self.moving_variance)]
        if not training:
            return fused_batch_norm(x, gamma, beta, self.epsilon, moving)
        normalize = synchronized_batch_norm if synchronized else trained_batch_norm
        outputs, mean, variance = normalize(x, gamma, beta, self.epsilon)
        self.moving_mean.assign(moving[0] * self.momentum + mean * (1 - self.momentum))
        self.moving_variance.assign(moving[1] * self.momentum + variance * (1 - self.momentum))
        return outputs
