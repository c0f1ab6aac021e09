"""Arrays from JSON and back."""

import base64
import json
import types

import hypothesis.extra.numpy as hnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import RequestError
from serving.wire.dtypes import BFLOAT16, DTYPES, STRING, dtype_name
from serving.wire.json_answers import classifications_text, outputs_text, regressions_text
from serving.wire.json_examples import fill_input
from serving.wire.json_tensors import read_array, read_inputs
from serving.wire.protos import ClassificationRequest, ClassificationResponse, RegressionResponse

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
FIRST = {10: True, STRING: ""}  # what the dtypes take that take no 0
FULL = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3)


def arrays(number, shapes):
    if number == STRING:
        return hnp.arrays(object, shapes, elements=st.text(max_size=4).map(str.encode))
    if number == BFLOAT16:
        floats = hnp.arrays(np.float32, shapes, elements=st.floats(width=16))
        return floats.map(lambda array: array.astype(ml_dtypes.bfloat16))
    return hnp.arrays(DTYPES[number], shapes)


def whole(shape):
    """A shape without what nested lists cannot say: how long the lists would be that are not there."""
    return shape[: shape.index(0) + 1] if 0 in shape else shape


@pytest.mark.parametrize("number", DTYPES, ids=dtype_name)
@given(data=st.data())
@settings(max_examples=30)
def test_outputs_read_as_inputs_are_the_same(number, data):
    name = data.draw(st.sampled_from(["y", "y_bytes"]))
    array = data.draw(arrays(number, SHAPES))
    document = json.loads(outputs_text({name: array}, in_rows=False))
    read = read_array(document["outputs"], number)
    assert read.dtype == DTYPES[number] and read.shape == whole(array.shape)
    np.testing.assert_array_equal(read, array.astype(DTYPES[number]).reshape(read.shape))
    array = data.draw(arrays(number, FULL))
    other = array.reshape(len(array), -1)[:, :1]
    document = json.loads(outputs_text({name: array, "other": other}, in_rows=True))
    columns, in_rows = read_inputs(
        {"instances": document["predictions"]}, dict.fromkeys((name, "other"), types.SimpleNamespace(dtype=number))
    )
    assert in_rows
    np.testing.assert_array_equal(columns[name], array.astype(DTYPES[number]))
    np.testing.assert_array_equal(columns["other"], other.astype(DTYPES[number]))


@given(value=st.floats(width=32))
def test_a_float_is_as_short_as_it_can_be(value):
    text = outputs_text({"y": np.array([value], np.float32)}, in_rows=True)[len(b'{"predictions": [') : -2]
    assert np.float32(float(text)) == np.float32(value) or np.isnan(value)
    if np.isfinite(value):
        assert len(text) <= len(repr(float(value))) + 4  # an exponent may be written out
        assert any(mark in text for mark in b".e")


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.array([0.1, 0.2, 1, 1e-5, 9e6, 1e20], np.float32), b"[0.1, 0.2, 1.0, 1e-05, 9e+06, 1e+20]"),
        (np.array([np.nan, np.inf, -np.inf], np.float32), b"[NaN, Infinity, -Infinity]"),
        (np.array([np.nan, np.inf, -np.inf, 0.1]), b"[NaN, Infinity, -Infinity, 0.1]"),
        (np.array([0.1], np.float16), b"[0.099975586]"),
        (np.array([2**64 - 1], np.uint64), b"[18446744073709551615]"),
        (np.array([True, False]), b"[true, false]"),
        (np.array([b'a"\n\xc3\xa9\xff'], object), '["a\\"\\né\ufffd"]'.encode()),
        (np.array(2.5, np.float32), b"2.5"),
        (np.zeros((2, 0), np.float32), b"[[], []]"),
    ],
)
def test_values_are_written_as_tensorflow_serving_does(array, text):
    written = outputs_text({"y": array}, in_rows=False)[len(b'{"outputs": ') : -1]
    assert written == text or json.loads(written) == json.loads(text)


def test_a_name_that_ends_in_bytes_means_base64():
    outputs = {"mask_bytes": np.array([b"\x00\xff", b"a"], object), "text": np.array([b"x", b"y"], object)}
    rows = [
        {"mask_bytes": {"b64": base64.b64encode(m).decode()}, "text": t} for m, t in ((b"\0\xff", "x"), (b"a", "y"))
    ]
    assert json.loads(outputs_text(outputs, in_rows=True)) == {"predictions": rows}
    columns = {"mask_bytes": [row["mask_bytes"] for row in rows], "text": ["x", "y"]}
    assert json.loads(outputs_text(outputs, in_rows=False)) == {"outputs": columns}


def test_large_answers_equal_small_ones():
    array = np.random.default_rng(0).random((3, 300, 300, 1), np.float32)
    read = json.loads(outputs_text({"y": array}, in_rows=True))["predictions"]
    np.testing.assert_array_equal(np.array(read, np.float32), array)


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({}, "Cannot convert empty tensor map to JSON"),
        ({"y": np.float32(1)}, "Tensor name: y has no shape information"),
        ({"y": np.zeros(2), "z": np.zeros(3)}, "Tensor name: z has inconsistent batch size: 3 expecting: 2"),
        ({"y": np.zeros(2, np.complex64)}, "Failed to write JSON value for tensor type: complex64"),
    ],
)
def test_outputs_that_are_no_rows(outputs, words):
    with pytest.raises(RequestError, match=words):
        outputs_text(outputs, in_rows=True)


@pytest.mark.parametrize(
    ("value", "number", "words"),
    [
        (2**31, 3, "JSON Value: 2147483648 Type: Number is not of expected type: int32"),
        (-129, 6, "is not of expected type: int8"),
        (256, 4, "is not of expected type: uint8"),
        (-1, 22, "is not of expected type: uint32"),
        (2**64, 23, "is not of expected type: uint64"),
        (1.0, 3, "JSON Value: 1.0 Type: Number is not of expected type: int32"),
        (True, 3, "JSON Value: true Type: True is not of expected type: int32"),
        (1, 10, "is not of expected type: bool"),
        (None, 1, "JSON Value: null Type: Null is not of expected type: float"),
        ({"b64": "YQ=="}, 1, "Type: Object is not of expected type: float"),
        (2**53, 2, "Cannot convert JSON value: 9007199254740992 to double without loss of precision"),
        (-(2**24), 1, "to float without loss"),
        (65536.0, 19, "to half without loss"),
        (3.4e38, BFLOAT16, "to bfloat16 without loss"),
        (10**400, 2, "Number too big"),
        ("\ud800", STRING, "surrogate pair"),
        (1, 8, "Conversion of JSON Value: [01] to type: complex64"),
        ([[1], 2], 1, "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ([1, [2]], 1, "Encountered list at unexpected level: 1 expected < 1"),
        ([[1], [2, 3]], 1, "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
    ],
)
def test_values_that_do_not_fit(value, number, words):
    with pytest.raises(RequestError, match=words):
        read_array(value, number)
    with pytest.raises(
        RequestError, match="element: [01] key: x of 'instances' list. Error: (INVALID_ARG|UNIMPL).*" + words
    ):
        read_inputs({"instances": [FIRST.get(number, 0), value]}, {"x": types.SimpleNamespace(dtype=number)})


def test_whole_numbers_of_more_than_64_bits_are_floats():
    assert read_array([2**64, -(2**63) - 1, 10**30], 1).tolist() == [
        float(np.float32(n)) for n in (2**64, -(2**63), 1e30)
    ]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[1, 2], [1, 2, 3]], "Failed to process element: 1 key: x of 'instances' list. .*tensor size: 2 but got: 3"),
        ([[[1, 2]], [[1], [2]]], r"Failed to process element: 1 key: x .*Expecting shape \[1,2\] but got: \[2,1\]"),
    ],
)
def test_rows_of_different_shapes(rows, words):
    with pytest.raises(RequestError, match=words):
        read_inputs({"instances": rows}, {"x": types.SimpleNamespace(dtype=1)})


def test_extra_columns_are_passed_over_as_tensorflow_serving_does():
    inputs, in_rows = read_inputs({"inputs": {"x": 1, "more": 2}}, {"x": types.SimpleNamespace(dtype=1)})
    assert (inputs, in_rows) == ({"x": np.float32(1)}, False)


def test_examples_have_features_of_all_kinds():
    request = ClassificationRequest()
    example = {
        "i": [1, True],
        "f": [0.5, float("nan")],
        "s": ["é", {"b64": "AP8"}],
        "none": [],
        "one": -3,
        "big": 2**70,
    }
    fill_input({"examples": [example, {}], "context": {"c": "x"}}, request.input)
    features = request.input.example_list_with_context.examples[0].features.feature
    assert features["i"].int64_list.value == [1, 1] and features["one"].int64_list.value == [-3]
    assert features["f"].float_list.value[0] == 0.5 and np.isnan(features["f"].float_list.value[1])
    assert features["s"].bytes_list.value == ["é".encode(), b"\x00\xff"]
    assert features["none"].WhichOneof("kind") is None and features["big"].float_list.value == [2.0**70]
    assert request.input.example_list_with_context.context.features.feature["c"].bytes_list.value == [b"x"]
    assert len(request.input.example_list_with_context.examples) == 2


def test_classes_and_numbers_are_written():
    response = ClassificationResponse()
    for row in ([("dog", 0.1), ("", 2.0)], []):
        classes = response.result.classifications.add().classes
        for label, score in row:
            classes.add(label=label, score=score)
    assert classifications_text(response.result) == b'{"results": [[["dog", 0.1], ["", 2.0]], []]}'
    response = RegressionResponse()
    response.result.regressions.add(value=0.1)
    assert regressions_text(response.result) == b'{"results": [0.1]}'
    for write, kind in ((classifications_text, ClassificationResponse), (regressions_text, RegressionResponse)):
        with pytest.raises(RequestError, match="Cannot convert empty"):
            write(kind().result)
