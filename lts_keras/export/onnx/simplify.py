"""Calculates once what depends on weights alone, and takes batch norms into the convolutions before them.

onnxruntime does both too, each time it opens a file. Here the file holds the weights as they are used: the 8-bit form
needs them so. What onnxruntime is slow at, the transposed convolution, becomes convolutions.
"""

import numpy as np
from onnx import helper

__all__ = ["fold_batch_norms", "fold_constants", "split_transposed"]


def fold_constants(graph):
    """Replaces nodes whose inputs are all known by what they give.

    Args:
        graph: `Graph`, changed in place; its nodes in an order in which they can run.
    """
    nodes = []
    for node in graph.nodes:
        calculate = _CALCULATE.get(node.op_type)
        if not calculate or not all(name in graph.constants or not name for name in node.input):
            nodes.append(node)
            continue
        attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        inputs = [graph.constants[name] if name else None for name in node.input]
        found = calculate(attributes, len(node.output), *inputs)
        path = next((graph.paths[name] for name in node.input if name in graph.paths), None)
        for name, array in zip(node.output, found, strict=True):
            graph.constants[name] = array
            if path:
                graph.paths[name] = path
    graph.nodes = nodes


def fold_batch_norms(graph):
    """Multiplies the scale of a batch norm into the kernel of the convolution that alone it follows.

    Args:
        graph: `Graph`, changed in place.
    """
    makers, users, gone = graph.makers(), graph.users(), set()
    for norm in graph.nodes:
        conv = makers.get(norm.input[0]) if norm.op_type == "BatchNormalization" else None
        known = conv and all(name in graph.constants for name in (*conv.input[1:], *norm.input[1:]))
        if not known or conv.op_type not in _KERNEL_AXIS or len(users[norm.input[0]]) > 1:
            continue
        if conv.op_type == "ConvTranspose" and any(one.name == "group" and one.i != 1 for one in conv.attribute):
            continue
        epsilon = next((one.f for one in norm.attribute if one.name == "epsilon"), 1e-5)
        gamma, beta, mean, variance = (graph.constants[name].astype(np.float64) for name in norm.input[1:])
        scale = gamma / np.sqrt(variance + epsilon)
        kernel, axis = graph.constants[conv.input[1]], _KERNEL_AXIS[conv.op_type]
        bias = graph.constants[conv.input[2]] if len(conv.input) > 2 else 0.0
        shape = [-1 if place == axis else 1 for place in range(kernel.ndim)]
        # Under names of their own: another node may use the kernel as it was.
        names = [f"{norm.output[0]}/folded_{one}" for one in ("kernel", "bias")]
        graph.constants[names[0]] = (kernel * scale.reshape(shape)).astype(np.float32)
        graph.constants[names[1]] = ((bias - mean) * scale + beta).astype(np.float32)
        for name, origin in zip(names, (conv.input[1], norm.input[2]), strict=True):
            if origin in graph.paths:
                graph.paths[name] = graph.paths[origin]
        conv.input[:] = [conv.input[0], *names]
        conv.output[:] = norm.output[:1]
        gone.add(id(norm))
    graph.nodes = [node for node in graph.nodes if id(node) not in gone]


def split_transposed(graph):
    """Writes each transposed convolution of kernel 4 and stride 2 as four convolutions of kernel 2.

    Each gives the outputs of one phase: even or odd rows, even or odd columns. Kernels that are no multiple of the
    stride would need phases of different kernels, and stay.

    Args:
        graph: `Graph`, changed in place.
    """
    nodes = []
    for node in graph.nodes:
        attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        fits = all(attributes.get(name, value) == value for name, value in _DOUBLING.items())
        fits = fits and node.op_type == "ConvTranspose" and node.input[1] in graph.constants
        nodes.extend(_phases(graph, node) if fits else [node])
    graph.nodes = nodes


_DOUBLING = {
    "auto_pad": b"NOTSET",
    "dilations": [1, 1],
    "group": 1,
    "kernel_shape": [4, 4],
    "output_padding": [0, 0],
    "pads": [1, 1, 1, 1],
    "strides": [2, 2],
}


def _phases(graph, node):
    name, kernel = node.output[0], graph.constants[node.input[1]]
    phases = []
    for row, column in np.ndindex(2, 2):
        # Output 2 i + phase is made of the inputs i - 1 and i (even) or i and i + 1 (odd), by every second weight.
        weights = kernel[:, :, 3 - row :: -2, 3 - column :: -2].transpose(1, 0, 2, 3)
        phase = f"{name}/phase_{row}{column}"
        graph.constants[f"{phase}_kernel"] = np.ascontiguousarray(weights)
        if node.input[1] in graph.paths:
            graph.paths[f"{phase}_kernel"] = graph.paths[node.input[1]]
        pads = [1 - row, 1 - column, row, column]
        inputs = [node.input[0], f"{phase}_kernel", *node.input[2:]]
        yield helper.make_node(
            "Conv", inputs, [phase], kernel_shape=[2, 2], strides=[1, 1], pads=pads, dilations=[1, 1], group=1
        )
        phases.append(phase)
    yield helper.make_node("Concat", phases, [f"{name}/phases"], axis=1)
    yield helper.make_node("DepthToSpace", [f"{name}/phases"], [name], blocksize=2, mode="DCR")


_KERNEL_AXIS = {"Conv": 0, "ConvTranspose": 1}
"""The axis of the kernel that counts the outputs."""


def _split(attributes, count, value, sizes=None):
    axis = attributes.get("axis", 0)
    if sizes is None:
        return np.array_split(value, count, axis)
    return np.split(value, np.cumsum(sizes)[:-1], axis)


def _slice(_, __, value, starts, ends, axes=None, steps=None):
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    found = [slice(None)] * value.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        # Backwards to the beginning is written as a number beyond it, which numpy would count from the end.
        stop = None if step < 0 and end < -value.shape[axis] else int(end)
        found[axis] = slice(int(start), stop, int(step))
    return [value[tuple(found)]]


def _reshape(attributes, _, value, shape):
    if not attributes.get("allowzero"):
        shape = [value.shape[place] if side == 0 else side for place, side in enumerate(shape)]
    return [value.reshape([int(side) for side in shape])]


def _squeeze(_, __, value, axes=None):
    return [np.squeeze(value, None if axes is None else tuple(int(axis) for axis in axes))]


_CALCULATE = {
    "Add": lambda _, __, first, second: [first + second],
    "Concat": lambda attributes, _, *values: [np.concatenate(values, attributes["axis"])],
    "Mul": lambda _, __, first, second: [first * second],
    "Reciprocal": lambda _, __, value: [np.reciprocal(value)],
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Sqrt": lambda _, __, value: [np.sqrt(value)],
    "Squeeze": _squeeze,
    "Sub": lambda _, __, first, second: [first - second],
    "Transpose": lambda attributes, _, value: [np.transpose(value, attributes.get("perm"))],
    "Unsqueeze": lambda _, __, value, axes: [np.expand_dims(value, tuple(int(axis) for axis in axes))],
}
"""What the converter leaves to do with weights; functions of attributes, number of outputs and inputs."""
