"""The network as it is served: a twin with the same answers that does less."""

import keras
import numpy as np
import tensorflow as tf

from lts_keras.export.folding import find_pairs, fold
from lts_keras.layers.conv_block import LEAKY_SLOPE, ConvBlock
from lts_keras.layers.segmentation_head import SegmentationHead
from lts_keras.prediction.network import float32_twin
from lts_keras.utils.policies import replace_policy

__all__ = ["served_network"]


def served_network(model, precision="float32"):
    """A twin of a model for inference: batch norms folded, kernels split, weights in the type they are used in.

    Args:
        model: `LTS`; one of mixed precision gives the twin of its weights in float32.
        precision: `"float32"` or `"bfloat16"`. In bfloat16 the sentence's encoder, which is a hundredth of the work,
            stays in float32, and so does what is no linear map, as in Keras' `mixed_bfloat16`. Logits are float32.

    Returns:
        `LTS` or the subclass that the model is; not to be trained, nor saved by Keras.
    """
    source = float32_twin(model)
    source.build_from_config({})
    config = source.get_config()
    if precision != "float32":
        encoder = config.get("sentence_encoder")
        config = replace_policy(config, f"mixed_{precision}") | {"sentence_encoder": encoder}
    twin = type(model).from_config(config)
    twin.set_weights(source.get_weights())
    twin.threshold, twin.presence = model.threshold, model.presence
    for pair, original in zip(find_pairs(twin), find_pairs(source), strict=True):
        fold(*pair, original)
    for layer in twin._flatten_layers():
        if precision != "float32":
            _store_as_read(layer)
        if type(layer) is ConvBlock:
            _split_once(layer)
        if type(layer) is SegmentationHead:
            _upsample_by_convolutions(layer)
    return twin


def _store_as_read(layer):
    """Stores those weights in 16 bits that the layer casts to it at every call."""
    if layer.compute_dtype == "float32":
        return
    for variable in layer._trainable_variables + layer._non_trainable_variables:
        if variable._autocast and keras.backend.is_float_dtype(variable.dtype):
            value = tf.cast(variable.value, layer.compute_dtype)
            variable._value = tf.Variable(value, trainable=False, name=variable.name)


def _split_once(block):
    """Lets the parts of a block's kernel be weights of their own: splitting them is a copy at every call."""
    parts = {}

    def kernel_parts(*widths):
        if widths not in parts:
            with tf.init_scope():
                pieces = np.split(_values(block.conv.kernel), np.cumsum(widths)[:-1], axis=2)
                parts[widths] = [_weight(piece, block, f"{block.name}_kernel") for piece in pieces]
        return [part.read_value() for part in parts[widths]]

    block.kernel_parts = kernel_parts


def _upsample_by_convolutions(head):
    """Writes a head's transposed convolution, 4x4 at stride 2, as four convolutions, one for each place of a 2x2 block.

    They have a fast kernel in 16 bits, which the transposed one has not, and take bias and activation in. What follows
    looks at one place at a time: the maps of single channels are put together, and not those of all.
    """
    kernel = _values(head.upsample.kernel).transpose(0, 1, 3, 2)
    # In one direction, the even places see their own and the one before, the odd ones their own and the next.
    taps, pads = ((3, 1), (2, 0)), ((1, 0), (0, 1))
    places = [(row, column) for row in (0, 1) for column in (0, 1)]
    kernels = [
        _weight(kernel[np.ix_(taps[row], taps[column])], head, f"upsample_{row}{column}") for row, column in places
    ]

    def decode(x, training):
        scores = []
        for (row, column), part in zip(places, kernels, strict=True):
            padding = [[0, 0], pads[row], pads[column], [0, 0]]
            y = tf.nn.conv2d(tf.cast(x, part.dtype), part.read_value(), strides=1, padding=padding)
            y = tf.nn.leaky_relu(head.upsample_norm(y), LEAKY_SLOPE)
            scores.append(head.score(y))
        return tf.cast(tf.nn.depth_to_space(tf.concat(scores, axis=-1), 2), tf.float32)

    head._decode = decode


def _values(variable):
    return np.asarray(tf.cast(variable.value, "float32"))


def _weight(values, layer, name):
    return tf.Variable(tf.cast(values, layer.compute_dtype), trainable=False, name=name)
