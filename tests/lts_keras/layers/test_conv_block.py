import keras
import numpy as np
import pytest

from lts_keras.layers.conv_block import ConvBlock, DenseBlock
from tests.testing import assert_independent, check_layer


def set_weights(layer, *weights):
    layer.set_weights([np.asarray(weight, "float32") for weight in weights])


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize(
    ("arguments", "expected_shape"),
    [
        ({"filters": 5}, (2, 8, 6, 5)),
        ({"filters": 5, "kernel_size": 3}, (2, 8, 6, 5)),
        ({"filters": 5, "kernel_size": 3, "strides": 2}, (2, 4, 3, 5)),
        ({"filters": 5, "kernel_size": 3, "dilation_rate": 2}, (2, 8, 6, 5)),
    ],
)
def test_conv_block_is_a_sound_layer(arguments, expected_shape):
    check_layer(ConvBlock, arguments, {"x": random(2, 8, 6, 3)}, expected_shape)


def test_dense_block_is_a_sound_layer():
    check_layer(DenseBlock, {"units": 4}, {"x": random(2, 3)}, (2, 4))


@pytest.mark.parametrize("block", [ConvBlock(4, 3), DenseBlock(4)])
def test_examples_do_not_touch_each_other(block):
    x = random(3, 5, 5, 2) if isinstance(block, ConvBlock) else random(3, 2)
    assert_independent(block, {"x": x})


def test_value_by_hand():
    block = ConvBlock(1)
    block.build((None, None, None, 2))
    set_weights(block.conv, np.reshape([2.0, -1.0], (1, 1, 2, 1)))
    set_weights(block.norm, [3.0], [0.5], [1.0], [4.0 - 1e-3])  # gamma, beta, mean, variance
    x = np.array([[[[1.0, 0.0], [0.0, 3.0]]]], "float32")
    # 2 -> 3 (2 - 1) / 2 + 0.5 = 2;   -3 -> 3 (-3 - 1) / 2 + 0.5 = -5.5, of which LeakyReLU leaves a tenth
    np.testing.assert_allclose(np.ravel(block(x)), [2.0, -0.55], rtol=1e-6)


def test_strided_convolution_pads_top_and_left():
    block = ConvBlock(1, 3, strides=2)
    block.build((None, None, None, 1))
    kernel = np.zeros((3, 3, 1, 1), "float32")
    kernel[0, 0] = 1  # the corner of the kernel: at output (0, 0) it lies on the padding
    set_weights(block.conv, kernel)
    set_weights(block.norm, [np.sqrt(1 + 1e-3)], [0.0], [0.0], [1.0])
    x = np.arange(1.0, 17.0, dtype="float32").reshape(1, 4, 4, 1)
    np.testing.assert_allclose(np.squeeze(block(x)), [[0, 0], [0, x[0, 1, 1, 0]]], rtol=1e-6)


@pytest.mark.parametrize(("kernel_size", "rate"), [(1, 1), (3, 1), (3, 2)])
def test_convolution_of_a_concatenation_is_the_sum_over_its_parts(kernel_size, rate):
    block = ConvBlock(4, kernel_size, dilation_rate=rate)
    a, b = random(2, 6, 6, 3), random(2, 6, 6, 5, seed=1)
    whole = block(np.concatenate([a, b], axis=-1))
    kernels = block.kernel_parts(3, 5)
    parts = block.activate(block.convolve_part(a, kernels[0]) + block.convolve_part(b, kernels[1]))
    np.testing.assert_allclose(parts, whole, atol=1e-5)


def test_frozen_block_infers_and_stays_frozen_when_saved():
    image = keras.Input((4, 4, 2))
    block = ConvBlock(3, trainable=False)
    model = keras.Model(image, block(image))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    for candidate in (model, again):
        assert candidate.trainable_variables == []
        statistics = candidate.layers[1].norm.moving_mean.numpy()
        candidate(random(2, 4, 4, 2), training=True)
        np.testing.assert_array_equal(candidate.layers[1].norm.moving_mean, statistics)
