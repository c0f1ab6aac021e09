"""An ONNX graph taken apart: nodes and constants, to be changed, and put together the same way each time."""

import collections

import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["LARGEST_BYTES", "Graph"]

LARGEST_BYTES = 2**31 - 2**24
"""A protobuf message holds 2 GiB; nodes and metadata need little."""
_DTYPES = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32}


class Graph:
    """Nodes and constants of an ONNX graph.

    Args:
        proto: `onnx.GraphProto`; its nodes are taken over.
        weights: dict from the name of an input to `(path, array)`: the constant that it becomes, and what it is called.

    Attributes:
        nodes: list of `onnx.NodeProto`.
        constants: dict from name to array.
        paths: dict from names of constants that are a weight, or made from one, to its path.
    """

    def __init__(self, proto, weights):
        self.nodes = list(proto.node)
        self.constants = {one.name: numpy_helper.to_array(one) for one in proto.initializer}
        self.constants |= {name: array for name, (_, array) in weights.items()}
        self.paths = {name: path for name, (path, _) in weights.items()}

    def users(self):
        """Dict from the name of a value to the nodes that take it."""
        found = collections.defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                found[name].append(node)
        return found

    def makers(self):
        """Dict from the name of a value to the node that gives it."""
        return {name: node for node in self.nodes for name in node.output}

    def sort(self, outputs):
        """Brings the nodes into the one order that the outputs lead to, and drops what none of them needs."""
        makers, done, ordered = self.makers(), set(), []
        waiting = [(makers[name], False) for name in reversed(outputs) if name in makers]
        while waiting:
            node, ready = waiting.pop()
            if node.output[0] in done:
                continue
            if ready:
                done.add(node.output[0])
                ordered.append(node)
                continue
            waiting.append((node, True))
            waiting.extend((makers[name], False) for name in reversed(node.input) if name in makers)
        self.nodes = ordered

    def to_model(self, inputs, outputs, properties, opset):
        """The whole as a model whose bytes depend on what it calculates alone: order and names are given anew.

        Args:
            inputs, outputs: lists of dicts with `name`, `dtype` and `shape`.
            properties: dict of str, the metadata.
            opset: int.

        Returns:
            `onnx.ModelProto`. The graph gives its constants up to it.

        Raises:
            ValueError: the constants are more than one file holds, or the converter has left a node of TensorFlow.
        """
        names = {value["name"]: value["name"] for value in (*inputs, *outputs)} | {"": ""}
        self.sort([value["name"] for value in outputs])
        unknown = sorted({node.op_type for node in self.nodes if node.domain or not onnx.defs.has(node.op_type)})
        if unknown:
            raise ValueError(f"no ONNX operators for {', '.join(unknown)}")
        taken, kept, stored = set(names), {}, {}
        counts = collections.Counter()
        for node in self.nodes:
            number = counts[node.op_type] = counts[node.op_type] + 1
            node.name, node.doc_string = f"{node.op_type}_{number}", ""
            for name in node.input:
                if name in names:
                    continue
                # What the converter wrote twice is stored once.
                key = _key(self.constants[name])
                if key not in stored:
                    stored[key] = _free(self.paths.get(name, "constant"), taken)
                    kept[stored[key]] = self.constants[name]
                names[name] = stored[key]
            for place, name in enumerate(node.output):
                if name and name not in names:
                    names[name] = _free(node.name if place == 0 else f"{node.name}_{place}", taken)
            renamed = [[names[name] for name in values] for values in (node.input, node.output)]
            del node.input[:], node.output[:]
            node.input.extend(renamed[0])
            node.output.extend(renamed[1])
            node.attribute.sort(key=lambda attribute: attribute.name)
        size = sum(array.nbytes for array in kept.values())
        if size > LARGEST_BYTES:
            raise ValueError(f"weights of {size:,} bytes; an ONNX file holds {LARGEST_BYTES:,}")
        self.constants = {}
        return _model(self.nodes, kept, inputs, outputs, properties, opset)


def _model(nodes, constants, inputs, outputs, properties, opset):
    model = onnx.ModelProto(producer_name="lts_keras")
    model.opset_import.append(helper.make_opsetid("", opset))
    model.ir_version = helper.find_min_ir_version_for(model.opset_import)
    # Filled in its place, and each array given up when it is in: the helpers would copy all weights once more.
    model.graph.name = "lts"
    model.graph.node.extend(nodes)
    model.graph.input.extend(map(_info, inputs))
    model.graph.output.extend(map(_info, outputs))
    for name in list(constants):
        array = constants.pop(name)
        dtype = helper.np_dtype_to_tensor_dtype(array.dtype)
        model.graph.initializer.add(name=name, dims=array.shape, data_type=dtype, raw_data=array.tobytes())
    for name in sorted(properties):
        model.metadata_props.add(key=name, value=properties[name])
    return model


def _info(value):
    return helper.make_tensor_value_info(value["name"], _DTYPES[value["dtype"]], value["shape"])


def _key(array):
    return array.dtype.str, array.shape, array.tobytes() if array.nbytes < 4096 else id(array)


def _free(name, taken):
    """`name`, or with a number behind it if it is taken; takes it."""
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    taken.add(found)
    return found
