"""What is done to the converter's graph changes nothing that it calculates."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from lts_keras.export.onnx import graph as graph_module
from lts_keras.export.onnx.graph import Graph
from lts_keras.export.onnx.simplify import fold_batch_norms, fold_constants, split_transposed

OPSET = 18


def value(name, shape, dtype="float32"):
    return {"name": name, "dtype": dtype, "shape": shape}


def made(nodes, constants, inputs, outputs):
    """The graph as a model, and taken apart anew."""
    info = [[helper.make_tensor_value_info(one["name"], 1, one["shape"]) for one in some] for some in (inputs, outputs)]
    stored = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    proto = helper.make_graph(nodes, "g", *info, stored)
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    return model, Graph(proto, {})


def run(model, **inputs):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


NUMBERS = np.arange(24, dtype=np.float32).reshape(2, 3, 4) + 1
INTS = {
    "axes": np.array([1]),
    "shape": np.array([0, -1]),
    "sizes": np.array([1, 2]),
    "from": np.array([-1, 0]),
    "to": np.array([-(2**31), 2**31 - 1]),
    "at": np.array([2, 1]),
    "by": np.array([-1, 2]),
}
FOLDED = [
    ("Transpose", ["x"], {"perm": [2, 0, 1]}, 1),
    ("Transpose", ["x"], {}, 1),
    ("Reshape", ["x", "shape"], {}, 1),
    ("Unsqueeze", ["x", "axes"], {}, 1),
    ("Split", ["x", "sizes"], {"axis": 1}, 2),
    ("Split", ["x"], {"axis": 2, "num_outputs": 2}, 2),
    ("Slice", ["x", "from", "to", "at", "by"], {}, 1),
    ("Concat", ["x", "x"], {"axis": 1}, 1),
    ("Add", ["x", "x"], {}, 1),
    ("Sub", ["x", "x"], {}, 1),
    ("Mul", ["x", "x"], {}, 1),
    ("Sqrt", ["x"], {}, 1),
    ("Reciprocal", ["x"], {}, 1),
]


@pytest.mark.parametrize(("operator", "names", "attributes", "count"), FOLDED)
def test_folded_constants_are_what_onnxruntime_calculates(operator, names, attributes, count):
    outputs = [f"y{number}" for number in range(count)]
    node = helper.make_node(operator, names, outputs, **attributes)
    model, graph = made([node], {"x": NUMBERS} | INTS, [], [value(name, None) for name in outputs])
    expected = run(model)
    fold_constants(graph)
    assert not graph.nodes
    for name, array in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(graph.constants[name], array, rtol=1e-6)


def test_what_depends_on_an_input_stays():
    nodes = [helper.make_node("Add", ["x", "z"], ["y"])]
    _, graph = made(nodes, {"x": NUMBERS}, [value("z", [4])], [value("y", None)])
    fold_constants(graph)
    assert [node.op_type for node in graph.nodes] == ["Add"]


@given(
    transposed=st.booleans(),
    with_bias=st.booleans(),
    used_twice=st.booleans(),
    epsilon=st.sampled_from([1e-5, 1e-3]),
    seed=st.integers(0, 9),
)
def test_batch_norms_are_folded_where_nobody_else_takes_the_map(transposed, with_bias, used_twice, epsilon, seed):
    random = np.random.default_rng(seed)

    def some(*shape):
        return random.uniform(0.5, 1.5, shape).astype(np.float32)

    constants = {"w": some(*((3, 4) if transposed else (4, 3)), 2, 2), "b": some(4)}
    constants |= {name: some(4) for name in ("gamma", "beta", "mean", "variance")}
    nodes = [
        helper.make_node("ConvTranspose" if transposed else "Conv", ["x", "w", *["b"] * with_bias], ["c"]),
        helper.make_node("BatchNormalization", ["c", "gamma", "beta", "mean", "variance"], ["n"], epsilon=epsilon),
        helper.make_node("Add", ["n", "c" if used_twice else "n"], ["y"]),
    ]
    model, graph = made(nodes, constants, [value("x", [1, 3, 5, 5])], [value("y", None)])
    x = some(1, 3, 5, 5)
    (expected,) = run(model, x=x)
    fold_batch_norms(graph)
    assert len(graph.nodes) == (3 if used_twice else 2)
    found = graph.to_model([value("x", [1, 3, 5, 5])], [value("y", [1, 4, "h", "w"])], {}, OPSET)
    np.testing.assert_allclose(run(found, x=x)[0], expected, rtol=1e-4, atol=1e-4)


@given(height=st.integers(1, 6), width=st.integers(1, 6), channels=st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_a_transposed_convolution_is_four(height, width, channels):
    random = np.random.default_rng(height * width)
    constants = {"w": random.normal(size=(*channels, 4, 4)).astype(np.float32)}
    constants["b"] = random.normal(size=channels[1]).astype(np.float32)
    node = helper.make_node(
        "ConvTranspose", ["x", "w", "b"], ["y"], kernel_shape=[4, 4], strides=[2, 2], pads=[1, 1, 1, 1]
    )
    shape = [1, channels[0], height, width]
    model, graph = made([node], constants, [value("x", shape)], [value("y", None)])
    x = random.normal(size=shape).astype(np.float32)
    (expected,) = run(model, x=x)
    split_transposed(graph)
    assert [node.op_type for node in graph.nodes] == ["Conv"] * 4 + ["Concat", "DepthToSpace"]
    found = graph.to_model([value("x", shape)], [value("y", list(expected.shape))], {}, OPSET)
    np.testing.assert_allclose(run(found, x=x)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "attributes", [{"strides": [1, 1], "pads": [1, 1, 1, 1]}, {"strides": [2, 2], "pads": [0, 0, 0, 0]}]
)
def test_other_transposed_convolutions_stay(attributes):
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], kernel_shape=[4, 4], **attributes)
    _, graph = made([node], {"w": np.ones((1, 1, 4, 4), np.float32)}, [value("x", [1, 1, 5, 5])], [value("y", None)])
    split_transposed(graph)
    assert [node.op_type for node in graph.nodes] == ["ConvTranspose"]


def written(order, names):
    """A small graph, its nodes in some order and under some names, as bytes."""
    first, second = names
    nodes = [
        helper.make_node("Add", ["x", "k1"], [first]),
        helper.make_node("Mul", ["x", "k2"], [second]),
        helper.make_node("Sub", [first, second], ["y"]),
        helper.make_node("Mul", ["x", "k3"], ["unused"]),
    ]
    constants = {"k1": np.full(2, 3, np.float32), "k2": np.full(2, 3, np.float32), "k3": np.ones(2, np.float32)}
    _, graph = made([nodes[place] for place in order], constants, [value("x", [2])], [value("y", [2])])
    return graph.to_model([value("x", [2])], [value("y", [2])], {"b": "2", "a": "1"}, OPSET)


@given(order=st.permutations(range(4)), names=st.permutations(["a", "zz", "Sub_1", "constant"]))
def test_order_and_names_of_the_converter_leave_no_trace(order, names):
    model = written(order, names[:2])
    onnx.checker.check_model(model)
    assert model.SerializeToString() == written([0, 1, 2, 3], ["p", "q"]).SerializeToString()
    # What nothing needs is gone, equal constants are one.
    assert len(model.graph.node) == 3 and [one.name for one in model.graph.initializer] == ["constant"]
    np.testing.assert_array_equal(run(model, x=np.float32([1, 2]))[0], [1, -1])


def test_more_than_a_file_holds_is_refused(monkeypatch):
    monkeypatch.setattr(graph_module, "LARGEST_BYTES", 7)
    with pytest.raises(ValueError, match="^weights of 8 bytes; an ONNX file holds 7$"):
        written([0, 1, 2, 3], ["a", "b"])
