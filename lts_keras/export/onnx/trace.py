"""The network as graphs whose weights are inputs, written for the process that converts them."""

import json
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from lts_keras.export.onnx.child import TASK_FILE
from lts_keras.prediction.network import half_functions, network_function

__all__ = ["write_task"]


def write_task(model, folder, files, properties):
    """Writes what the converting process needs: a graph for each part, every weight once, and the task itself.

    Args:
        model: `LTS`.
        folder: path of an empty folder.
        files: dict from part (`"whole"`, or both `"encode"` and `"segment"`) to the path of the ONNX file to write.
        properties: dict of str, the metadata of each file.
    """
    folder = Path(folder)
    model.build_from_config({})
    # Others are seeds, which inference does not read.
    weights = [weight for weight in model.variables if "float" in weight.dtype]
    for number, weight in enumerate(weights):
        np.save(folder / f"{number}.npy", weight.numpy())
    parts = []
    for name, part in _parts(model, files).items():
        graph, task = part.trace(weights)
        (folder / f"{name}.pb").write_bytes(graph.as_graph_def().SerializeToString())
        parts.append({"graph": f"{name}.pb", "file": str(Path(files[name]).absolute()), **task})
    task = {"parts": parts, "weights": [weight.path for weight in weights], "properties": properties}
    (folder / TASK_FILE).write_text(json.dumps(task), encoding="utf-8")


def _parts(model, names):
    """The parts by name, `encode` before `segment`."""
    size, parts = model.image_size, {}
    image = tf.TensorSpec((None, size, size, 3), tf.float32, "image")
    token_ids = tf.TensorSpec((None, model.max_tokens), tf.int32, "token_ids")
    if "whole" in names:
        parts["whole"] = _Part(network_function(model), [image, token_ids], ["mask", "prior"], "batch")
    if "encode" in names:
        encode, segment = half_functions(model)
        shapes = tf.function(encode, autograph=False).get_concrete_function(image).structured_outputs
        keys = sorted(shapes)
        named = {key: f"feature_{number}" for number, key in enumerate(keys)}
        features = [tf.TensorSpec((1, *shapes[key].shape[1:]), shapes[key].dtype, named[key]) for key in keys]

        def encode_listed(image):
            found = encode(image)
            return [found[key] for key in keys]

        def segment_listed(*values):
            return segment(dict(zip(keys, values[:-1], strict=True)), values[-1])

        parts["encode"] = _Part(encode_listed, [image], list(named.values()), "photos")
        parts["segment"] = _Part(segment_listed, [*features, token_ids], ["mask", "prior"], "sentences")
    return parts


class _Part:
    """A function of tensors with the names of its inputs and outputs.

    Args:
        function: gives a list of tensors.
        inputs: list of `tf.TensorSpec`, named.
        outputs: list of str.
        rows: str, what the free first axis counts.
    """

    def __init__(self, function, inputs, outputs, rows):
        self.function, self.inputs, self.outputs, self.rows = function, inputs, outputs, rows

    def trace(self, weights):
        """Returns the graph with weights as inputs, and what is to be known of it, as JSON has it."""
        specs = [tf.TensorSpec(weight.shape, weight.dtype, f"weight_{n}") for n, weight in enumerate(weights)]

        def with_weights(*values):
            own, given = values[: len(self.inputs)], values[len(self.inputs) :]
            with keras.StatelessScope(state_mapping=zip(weights, given, strict=True)):
                return [tf.identity(value) for value in self.function(*own)]

        function = tf.function(with_weights, autograph=False).get_concrete_function(*self.inputs, *specs)
        # Functions within the graph are written out, and what no Keras variable holds becomes a constant.
        function = convert_variables_to_constants_v2(function)
        tensors = [tensor.name for tensor in function.inputs]
        own, weights = tensors[: len(self.inputs)], tensors[len(self.inputs) :]
        inputs = [self._value(spec.name, tensor, spec) for spec, tensor in zip(self.inputs, own, strict=True)]
        outputs = [self._value(name, one.name, one) for name, one in zip(self.outputs, function.outputs, strict=True)]
        return function.graph, {
            "inputs": inputs,
            "outputs": outputs,
            "weights": {name: number for number, name in enumerate(weights)},
        }

    def _value(self, name, tensor, spec):
        shape = [self.rows if side is None else side for side in spec.shape]
        return {"name": name, "tensor": tensor, "dtype": spec.dtype.name, "shape": shape}
