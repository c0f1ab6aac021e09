"""Convolution, batch norm, LeakyReLU: the block that Darknet and every projection of LTS are made of."""

import keras
from keras import ops

from lts_keras.layers.batch_norm import BatchNormalization
from lts_keras.layers.tensorflow_paths import convolve

__all__ = ["LEAKY_SLOPE", "NORM_EPSILON", "ConvBlock", "DenseBlock"]

NORM_EPSILON = 1e-3
LEAKY_SLOPE = 0.1


class _NormBlock(keras.layers.Layer):
    """Batch norm and LeakyReLU behind a linear map."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = BatchNormalization(epsilon=NORM_EPSILON, dtype=self.dtype_policy, name="norm")

    def _build_parts(self, linear, input_shape, output_dim):
        """Makes the variables. A block that was frozen when saved comes back frozen, batch norm included."""
        linear.build(input_shape)
        self.norm.build((*input_shape[:-1], output_dim))
        self.built = True
        for part in (linear, self.norm):  # which Keras makes trainable, whatever the config of the whole says
            part.trainable = self.trainable

    def activate(self, x, training=None):
        """Batch norm and LeakyReLU of what the linear map gave, or of a sum of its parts."""
        return ops.leaky_relu(self.norm(x, training=training), negative_slope=LEAKY_SLOPE)


@keras.saving.register_keras_serializable(package="lts_keras")
class ConvBlock(_NormBlock):
    """Convolution without bias -> batch norm (epsilon 1e-3) -> LeakyReLU 0.1.

    A stride-2 convolution gets one row of zeros on top and one column on the left and is 'valid', which is Darknet's
    convention for even sizes, so that its weight files load exactly. With stride 1 the size is kept.

    A convolution over a concatenation is the sum of convolutions over its parts: `kernel_parts` splits the kernel,
    `convolve_part` gives one term of that sum, and `activate` finishes it.

    Args:
        filters: int. Output channels.
        kernel_size: int. Odd side of the kernel. Defaults to `1`.
        strides: int, `1` or `2`. Defaults to `1`.
        dilation_rate: int. Defaults to `1`.
        kernel_initializer: Keras initializer. Defaults to `"he_normal"`.

    Call arguments:
        x: Float tensor of shape `(batch, height, width, channels)`.

    Returns:
        Float tensor of shape `(batch, height / strides, width / strides, filters)`.
    """

    def __init__(self, filters, kernel_size=1, strides=1, dilation_rate=1, kernel_initializer="he_normal", **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.dilation_rate = dilation_rate
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.conv = keras.layers.Conv2D(
            filters,
            kernel_size,
            strides=strides,
            dilation_rate=dilation_rate,
            padding="same" if strides == 1 else "valid",
            use_bias=False,
            kernel_initializer=self.kernel_initializer,
            dtype=self.dtype_policy,
            name="conv",
        )

    def build(self, input_shape):
        """Makes the variables; `input_shape` needs the channels alone."""
        self._build_parts(self.conv, input_shape, self.filters)

    def call(self, x, training=None):
        if self.strides == 2:
            x = ops.pad(x, ((0, 0), (1, 0), (1, 0), (0, 0)))
        if self.dilation_rate > 1:
            return self.activate(self.convolve_part(x, self.conv.kernel), training=training)
        return self.activate(self.conv(x), training=training)

    def kernel_parts(self, *widths):
        """Splits the kernel for a concatenation as its input.

        Args:
            *widths: int. Channels of each part; together, those of the input.

        Returns:
            list of tensors `(kernel_size, kernel_size, width, filters)` in the compute dtype. The gradient of the one
            split is one concatenation; slices would each give a gradient as large as the whole kernel.
        """
        places = [sum(widths[: index + 1]) for index in range(len(widths) - 1)]
        return ops.split(ops.cast(self.conv.kernel, self.compute_dtype), places, axis=2)

    def convolve_part(self, x, kernel, dilation_rate=None):
        """One term of the convolution over a concatenation, without batch norm and activation.

        Args:
            x: Float tensor `(batch, height, width, c)`.
            kernel: Tensor `(kernel_size, kernel_size, c, filters)`, from `kernel_parts`.
            dilation_rate: int. Another rate than the block's own, for a map at another stride.

        Returns:
            Float tensor `(batch, height, width, filters)`.
        """
        x, kernel = (ops.cast(value, self.compute_dtype) for value in (x, kernel))
        return convolve(x, kernel, dilation_rate or self.dilation_rate)

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        shrink = [side if side is None else side // self.strides for side in (height, width)]
        return (batch, *shrink, self.filters)

    def get_config(self):
        return super().get_config() | {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "dilation_rate": self.dilation_rate,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


@keras.saving.register_keras_serializable(package="lts_keras")
class DenseBlock(_NormBlock):
    """Matrix product without bias -> batch norm (epsilon 1e-3) -> LeakyReLU 0.1.

    Args:
        units: int. Output width.

    Call arguments:
        x: Float tensor of shape `(batch, channels)`.

    Returns:
        Float tensor of shape `(batch, units)`.
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dense = keras.layers.Dense(
            units, use_bias=False, kernel_initializer="he_normal", dtype=self.dtype_policy, name="dense"
        )

    def build(self, input_shape):
        """Makes the variables."""
        self._build_parts(self.dense, input_shape, self.units)

    def call(self, x, training=None):
        return self.activate(self.dense(x), training=training)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return super().get_config() | {"units": self.units}
