"""Batch norms folded into the linear maps before them: with frozen statistics, both are one map with a bias."""

import keras
import numpy as np
import tensorflow as tf

from lts_keras.layers.conv_block import ConvBlock, DenseBlock
from lts_keras.layers.segmentation_head import SegmentationHead

__all__ = ["find_pairs", "fold"]


def find_pairs(model):
    """The linear maps that one batch norm alone reads.

    Known are the boxes of this package, and convolutions and dense layers in the graph of a functional model, such as
    a backbone; whatever else has a batch norm keeps it.

    Args:
        model: `keras.Model`.

    Returns:
        List of pairs of layers: the map and its batch norm.
    """
    pairs = []
    for layer in model._flatten_layers():
        # A subclass may do something else with its parts.
        if type(layer) is ConvBlock:
            pairs.append((layer.conv, layer.norm))
        elif type(layer) is DenseBlock:
            pairs.append((layer.dense, layer.norm))
        elif type(layer) is SegmentationHead:
            pairs.append((layer.upsample, layer.upsample_norm))
        elif isinstance(layer, keras.Model) and hasattr(layer, "_nodes_by_depth"):
            pairs.extend(_pairs_of_graph(layer))
    return pairs


def fold(linear, norm, source):
    """Scales the weights of a map, and lets its batch norm only add what is left of it, in place.

    Args:
        linear, norm: a pair of `find_pairs`.
        source: the same pair in a model whose weights are in float32.
    """
    original, statistics = source
    variance = np.asarray(statistics.moving_variance, "float64")
    scale = 1 / np.sqrt(variance + statistics.epsilon)
    if statistics.gamma is not None:
        scale = scale * np.asarray(statistics.gamma, "float64")
    bias = -np.asarray(statistics.moving_mean, "float64") * scale
    if statistics.beta is not None:
        bias = bias + np.asarray(statistics.beta, "float64")
    kernel, shape = _kernel(linear), _scale_shape(linear)
    kernel.assign((np.asarray(_kernel(original), "float64") * scale.reshape(shape)).astype("float32"))
    if linear.use_bias:
        bias = bias + np.asarray(original.bias, "float64") * scale
        linear.bias.assign(np.zeros(bias.shape, "float32"))
    bias = tf.Variable(tf.cast(bias, norm.compute_dtype), trainable=False, name=f"{linear.name}_bias")

    # As an operation of its own kind, it is taken into the convolution before it together with the activation behind.
    def call(inputs, training=None, mask=None):
        return tf.nn.bias_add(tf.cast(inputs, bias.dtype), bias)

    norm.call = call


def _pairs_of_graph(model):
    """The pairs among the layers of one functional model."""
    readers = {id(tensor): 1 for tensor in model.outputs}  # what is an output must stay as it is
    nodes = [node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth]]
    makers, calls = {}, {}
    for node in nodes:
        for tensor in node.input_tensors:
            readers[id(tensor)] = readers.get(id(tensor), 0) + 1
        for tensor in node.output_tensors:
            makers[id(tensor)] = node.operation
        calls[id(node.operation)] = calls.get(id(node.operation), 0) + 1
    pairs = []
    for node in nodes:
        norm = node.operation
        if not isinstance(norm, keras.layers.BatchNormalization) or calls[id(norm)] > 1:
            continue
        (tensor,) = node.input_tensors
        linear = makers.get(id(tensor))
        if _is_linear(linear) and calls[id(linear)] == 1 and readers[id(tensor)] == 1:
            if norm.axis in (-1, len(tensor.shape) - 1) and not norm.renorm:
                pairs.append((linear, norm))
    return pairs


def _is_linear(layer):
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Conv2DTranspose)
    kinds += (keras.layers.SeparableConv2D, keras.layers.Dense)
    if type(layer) not in kinds or layer.activation is not keras.activations.linear:
        return False
    return getattr(layer, "data_format", "channels_last") == "channels_last" and not getattr(
        layer, "lora_enabled", False
    )


def _kernel(layer):
    return layer.pointwise_kernel if isinstance(layer, keras.layers.SeparableConv2D) else layer.kernel


def _scale_shape(layer):
    """Shape in which one number for each output channel multiplies the kernel."""
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return (1, 1, -1, 1)
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return (1, 1, -1, layer.depth_multiplier)
    return (-1,)
