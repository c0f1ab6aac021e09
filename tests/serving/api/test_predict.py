"""Predict: TensorFlow Serving's words and codes, over a real channel, with its own messages."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.core.limits import Limits
from tests.serving.asking import predict_request, refused
from tests.serving.houses import open_house

X = np.array([2.0], np.float32)


def change_signature(folder, change):
    """Calls `change` on the `SignatureDef` of a SavedModel's `serving_default` and writes it back."""
    path = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    change(model.meta_graphs[0].signature_def["serving_default"])
    path.write_bytes(model.SerializeToString())


def text_tensor(values, shape=None, dtype=tf.string):
    return tf.make_tensor_proto(np.array(values, object), dtype, shape)


def odd_inputs(**changes):
    inputs = {"text": text_tensor([b"a", b"b"]), "short": tf.make_tensor_proto([1.5, 2.0], tf.bfloat16)}
    return inputs | {"number": tf.make_tensor_proto(7, tf.int64)} | changes


def test_the_model_that_answered_is_named(predictions):
    response = predictions.Predict(predict_request("default", {"x": X}))
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("default", 124, "serving_default")
    assert tf.make_ndarray(response.outputs["y"]).tolist() == [4.0]


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_numbers_are_answered_one_by_one_whatever_the_rows(predictions, rows):
    proto = predictions.Predict(predict_request("default", {"x": np.zeros(rows, np.float32)})).outputs["y"]
    assert (list(proto.float_val), proto.tensor_content) == ([3.0] * rows, b"")


def test_an_option_has_numbers_answered_as_bytes(bases):
    with open_house(bases, tensor_content=True) as house:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(house.channel)
        for rows in (1, 3):
            proto = stub.Predict(predict_request("default", {"x": np.zeros(rows, np.float32)})).outputs["y"]
            assert (list(proto.float_val), len(proto.tensor_content)) == ([], 4 * rows)
            assert tf.make_ndarray(proto).tolist() == [3.0] * rows


def test_every_dtype_comes_back_as_it_went(predictions):
    text = text_tensor([[b"\xff\x00", b""], ["größe".encode(), b"x"]], (2, 2))
    response = predictions.Predict(predict_request("odd", odd_inputs(text=text)))
    arrays = {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}
    assert arrays["text"].tolist() == [[b"\xff\x00", b""], ["größe".encode(), b"x"]]
    assert (arrays["short"].dtype.name, arrays["short"].astype(float).tolist()) == ("bfloat16", [1.5, 2.0])
    assert (arrays["number"].shape, arrays["number"].dtype, int(arrays["number"])) == ((), np.int64, 7)


def test_only_the_outputs_that_are_asked_for_are_computed(tmp_path):
    """An output that fails whenever it is computed harms nobody who does not ask for it."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], name="x")
        with tf.control_dependencies([v1.assert_less(x, -1.0, message="computed")]):
            costly = tf.identity(x)
        v1.saved_model.simple_save(session, str(tmp_path / "1"), {"x": x}, {"cheap": x + 1.0, "costly": costly})
    with open_house({"m": tmp_path}) as house:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(house.channel)
        response = stub.Predict(predict_request("m", {"x": X}, outputs=["cheap"]))
        assert (list(response.outputs), response.outputs["cheap"].float_val[:]) == (["cheap"], [3.0])
        refused(stub.Predict, predict_request("m", {"x": X}, outputs=["costly"]), "INVALID_ARGUMENT", "computed")
        refused(stub.Predict, predict_request("m", {"x": X}), "INVALID_ARGUMENT", "computed")


def test_an_input_with_a_default_need_not_be_sent(tmp_path):
    """The signature's own defaults, which TensorFlow Serving fills in."""
    function = tf.function(
        lambda x, offset: {"y": x + offset},
        input_signature=[tf.TensorSpec([None], tf.float32, name=name) for name in ("x", "offset")],
    )
    tf.saved_model.save(tf.Module(), str(tmp_path / "1"), signatures=function)
    offset = tf.make_tensor_proto([10.0])
    change_signature(tmp_path / "1", lambda signature: signature.defaults["offset"].CopyFrom(offset))
    with open_house({"m": tmp_path}) as house:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(house.channel)
        assert stub.Predict(predict_request("m", {"x": X})).outputs["y"].float_val[:] == [12.0]
        assert stub.Predict(predict_request("m", {"x": X, "offset": X})).outputs["y"].float_val[:] == [4.0]
        words = ("input size does not match signature: 1!=2", "Missing but required: {x}")
        refused(stub.Predict, predict_request("m", {"offset": X}), "INVALID_ARGUMENT", *words)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (
            {},
            "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
        ),
        (
            {"x": X, "z": X},
            "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. "
            "Missing but required: {}.",
        ),
        ({"z": X}, "input tensor alias not found in signature: z. Inputs expected to be in the set {x}."),
        ({"x": np.array([2], np.int64)}, 'input "x" expects float but int64 is provided'),
        ({"x": text_tensor([b"2"])}, 'input "x" expects float but string is provided'),
    ],
)
def test_inputs_that_the_signature_does_not_take(predictions, inputs, words):
    refused(predictions.Predict, predict_request("default", inputs), "INVALID_ARGUMENT", words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"short": tf.make_tensor_proto([[1.0]], tf.bfloat16)}, 'input "short" expects shape (None,) but (1, 1)'),
        ({"number": tf.make_tensor_proto([7], tf.int64)}, 'input "number" expects shape () but (1,)'),
        ({"number": tf.make_tensor_proto(-7, tf.int64)}, "number below zero"),
    ],
)
def test_shapes_are_those_of_the_entrances_of_the_graph(predictions, changes, words):
    refused(predictions.Predict, predict_request("odd", odd_inputs(**changes)), "INVALID_ARGUMENT", words)


def test_outputs_that_are_not_there_or_asked_for_twice(predictions):
    request = predict_request("default", {"x": X}, outputs=["y", "nothing"])
    words = "output tensor alias not found in signature: nothing Outputs expected to be in the set {y}."
    refused(predictions.Predict, request, "INVALID_ARGUMENT", words)
    request = predict_request("default", {"x": X}, outputs=["y", "y"])
    refused(predictions.Predict, request, "INVALID_ARGUMENT", "duplicate output tensor alias: y")


def test_models_versions_and_signatures_that_are_not_there(predictions):
    predict = predictions.Predict
    refused(predict, predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec")
    refused(predict, predict_request("", {"x": X}, "any"), "INVALID_ARGUMENT", "ModelSpec has no name specified.")
    words = "Servable not found for request: Latest(other)"
    refused(predict, predict_request("other", {"x": X}), "NOT_FOUND", words)
    words = "Servable not found for request: Specific(default, 123)"
    refused(predict, predict_request("default", {"x": X}, version=123), "NOT_FOUND", words)
    words = "Unrecognized servable version label: stable"
    refused(predict, predict_request("default", {"x": X}, label="stable"), "INVALID_ARGUMENT", words)
    words = 'Serving signature key "nothing" not found.'
    refused(predict, predict_request("default", {"x": X}, "nothing"), "FAILED_PRECONDITION", words)


def test_signatures_of_other_methods_answer_too(predictions):
    example = tf.train.Example()
    example.features.feature["x"].float_list.value.append(2.0)
    inputs = {"inputs": text_tensor([example.SerializeToString()])}
    response = predictions.Predict(predict_request("default", inputs, "classify_x_to_y"))
    assert tf.make_ndarray(response.outputs["scores"]).tolist() == [[4.0]]


def test_a_claim_of_many_rows_takes_no_memory_and_many_rows_are_refused(bases):
    with open_house(bases, Limits(max_rows=8)) as house:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(house.channel).Predict
        claim = tf.make_tensor_proto([1.0])
        claim.ClearField("tensor_content")
        claim.float_val[:] = [1.0]
        claim.tensor_shape.dim[0].size = 2**40
        refused(predict, predict_request("default", {"x": claim}), "INVALID_ARGUMENT", f"claims {2**40} values")
        refused(predict, predict_request("default", {"x": np.zeros(9, np.float32)}), "RESOURCE_EXHAUSTED", "9 rows")
        assert (
            predict(predict_request("default", {"x": np.zeros(8, np.float32)})).outputs["y"].float_val[:] == [3.0] * 8
        )


def test_an_error_of_the_graph_is_one_line_without_names_of_nodes(predictions):
    details = refused(
        predictions.Predict,
        predict_request("default", {"inputs": text_tensor([b"junk"])}, "classify_x_to_y"),
        "INVALID_ARGUMENT",
        "Feature: x (data type: float) is required",
    )
    assert "{{" not in details


def test_a_method_name_is_asked_for_only_where_an_option_says_so(tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None], name="x")
        tf.compat.v1.saved_model.simple_save(session, str(tmp_path / "1"), {"x": x}, {"y": x + 0.0})
    change_signature(tmp_path / "1", lambda signature: setattr(signature, "method_name", "own/method"))
    for check in (False, True):
        with open_house({"m": tmp_path}, signature_method_name_check=check) as house:
            predict = prediction_service_pb2_grpc.PredictionServiceStub(house.channel).Predict
            if check:
                words = "Expected prediction signature method_name to be one of {"
                refused(predict, predict_request("m", {"x": X}), "INTERNAL", words, "Was: own/method")
            else:
                assert predict(predict_request("m", {"x": X})).outputs["y"].float_val[:] == [2.0]


def test_a_message_in_any_script_reaches_the_client(predictions):
    """gRPC sends it as a header, at most 8 KiB, where a sign takes up to twelve bytes; from there on it draws lots."""
    request = predict_request("default", {"x": X}, "\N{DOG FACE}" * 3000)
    for _ in range(20):
        with pytest.raises(grpc.RpcError) as refusal:
            predictions.Predict(request, timeout=10)
        assert refusal.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert refusal.value.details().startswith('Serving signature key "\N{DOG FACE}\N{DOG FACE}')
