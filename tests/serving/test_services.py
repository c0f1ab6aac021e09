"""Answers and status codes over a real channel, as TensorFlow Serving gives them."""

import threading

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.client import Client, ServingError
from tests.small_models import photo_bytes


def strings(*values):
    return np.array([value if isinstance(value, bytes) else value.encode() for value in values], dtype=object)


GOOD = {"image_bytes": strings(photo_bytes()), "expression": strings("the left dog")}


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as opened:
        yield opened


def refused(call, code, *words):
    with pytest.raises((ServingError, grpc.RpcError)) as error:
        call()
    found = error.value.code
    assert (found() if callable(found) else found) == code
    message = error.value.details() if isinstance(error.value, grpc.RpcError) else str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_answers_equal_the_keras_models(client, saved_models):
    expressions = ["the left dog", "red circle", "zzz"]
    expected = saved_models.first.predictor.predict_many(photo_bytes(), expressions)
    for answer, prediction in zip(client.segment(photo_bytes(), expressions), expected, strict=True):
        np.testing.assert_array_equal(answer.mask, prediction.mask)
        assert (answer.box, answer.point, answer.version) == (prediction.box, prediction.point, 7)
        assert answer.score == pytest.approx(prediction.score, abs=1e-5)
        assert answer.presence == pytest.approx(prediction.presence, abs=1e-5)


def test_model_spec_is_echoed_with_the_version_that_answered(client):
    outputs, spec = client.predict(GOOD)
    assert (spec.name, spec.version.value, spec.signature_name) == ("lts", 7, "serving_default")
    assert set(outputs) == {"mask_png_bytes", "score", "presence", "box", "point", "size"}


def test_output_filter_is_honoured(client):
    outputs, _ = client.predict(GOOD, output_filter=["score", "size"])
    assert set(outputs) == {"score", "size"}


def test_tensors_in_every_encoding(client):
    image = np.random.default_rng(0).random((2, 64, 64, 3), dtype=np.float32)
    outputs, _ = client.predict({"image": image, "token_ids": np.ones((2, 6), np.int32)}, "segment_tensors")
    assert outputs["mask"].shape == (2, 16, 16, 1)
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "lts", "segment_tensors"
    request.inputs["image"].CopyFrom(
        tf.make_tensor_proto(image.ravel().tolist(), dtype=tf.float32, shape=image.shape)  # as values, one by one
    )
    request.inputs["token_ids"].dtype = tf.int32.as_datatype_enum
    for size in (2, 6):
        request.inputs["token_ids"].tensor_shape.dim.add(size=size)
    request.inputs["token_ids"].int_val.append(1)  # one value for all
    response = client._call(client._predictions.Predict, request)
    np.testing.assert_allclose(tf.make_ndarray(response.outputs["mask"]), outputs["mask"], atol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "signature", "code", "words"),
    [
        ({"image_bytes": GOOD["image_bytes"]}, "", "INVALID_ARGUMENT", "Missing but required: {expression}"),
        (GOOD | {"more": strings("x")}, "", "INVALID_ARGUMENT", "Sent extra: {more}"),
        (GOOD | {"expression": np.array([1.0], np.float32)}, "", "INVALID_ARGUMENT", "string but float32 is provided"),
        (GOOD | {"expression": strings("a").reshape(1, 1)}, "", "INVALID_ARGUMENT", 'input "expression" expects shape'),
        (GOOD, "nothing", "FAILED_PRECONDITION", 'Serving signature key "nothing" not found.'),
        (GOOD | {"expression": strings("a", "b")}, "", "INVALID_ARGUMENT", "equally many rows"),
        (GOOD | {"image_bytes": strings(b"junk")}, "", "INVALID_ARGUMENT", "no JPEG or PNG photo"),
        (GOOD | {"image_bytes": strings(photo_bytes()[:300])}, "", "INVALID_ARGUMENT", "Invalid JPEG"),
        (GOOD | {"image_bytes": strings(photo_bytes(500, 500))}, "", "INVALID_ARGUMENT", "1 to 100000 pixels"),
        ({name: value[:0] for name, value in GOOD.items()}, "", "INVALID_ARGUMENT", "1 to 1024 rows"),
        (
            {"image_bytes": strings(photo_bytes(), photo_bytes()), "expression": strings("a")},
            "segment_expressions",
            "INVALID_ARGUMENT",
            'input "image_bytes" expects shape (1,)',
        ),
    ],
)
def test_wrong_requests_get_the_code_that_tensorflow_serving_gives(client, inputs, signature, code, words):
    refused(lambda: client.predict(inputs, signature), grpc.StatusCode[code], words)


def test_unknown_outputs_models_and_versions(client, server):
    refused(
        lambda: client.predict(GOOD, output_filter=["nothing"]),
        grpc.StatusCode.INVALID_ARGUMENT,
        "output tensor alias not found in signature: nothing",
    )
    refused(
        lambda: client.predict(GOOD, output_filter=["score", "score"]),
        grpc.StatusCode.INVALID_ARGUMENT,
        "duplicate output tensor alias: score",
    )
    for arguments, words in (
        ({"model_name": "other"}, "Servable not found for request: Latest(other)"),
        ({"version": 42}, "Servable not found for request: Specific(lts, 42)"),
    ):
        with Client(f"127.0.0.1:{server.port}", **arguments) as other:
            refused(lambda asking=other: asking.predict(GOOD), grpc.StatusCode.NOT_FOUND, words)


def test_requests_without_a_model_or_a_version_label_that_is_not_there(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = predict_pb2.PredictRequest()
    refused(lambda: stub.Predict(request), grpc.StatusCode.INVALID_ARGUMENT, "Missing ModelSpec")
    request.model_spec.signature_name = "serving_default"
    refused(lambda: stub.Predict(request), grpc.StatusCode.INVALID_ARGUMENT, "ModelSpec has no name specified.")
    request.model_spec.name, request.model_spec.version_label = "lts", "stable"
    words = "Unrecognized servable version label: stable"
    refused(lambda: stub.Predict(request), grpc.StatusCode.INVALID_ARGUMENT, words)


@pytest.mark.parametrize(
    ("shape", "content", "words"),
    [
        ((2**40,), b"", "more than"),
        ((-1,), b"", "no valid shape"),
        ((1, 64, 64, 3), b"1234", "needs 49152 bytes. Received: 4"),
    ],
)
def test_malformed_tensors_cost_nothing_and_say_why(channel, shape, content, words):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "lts", "segment_tensors"
    request.inputs["token_ids"].CopyFrom(tf.make_tensor_proto(np.ones((1, 6), np.int32)))
    proto = request.inputs["image"]
    proto.dtype, proto.tensor_content = tf.float32.as_datatype_enum, content
    for size in shape if len(shape) == 4 else (*shape, 64, 64, 3):
        proto.tensor_shape.dim.add(size=size)
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    refused(lambda: stub.Predict(request, timeout=10), grpc.StatusCode.INVALID_ARGUMENT, 'input "image"', words)


def test_metadata_declares_the_signatures(client, channel):
    signatures = client.metadata()
    assert {"serving_default", "segment_expressions", "segment_tensors"} == set(signatures)
    assert set(signatures["serving_default"].inputs) == {"image_bytes", "expression"}
    assert signatures["serving_default"].method_name == "tensorflow/serving/predict"
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "lts"
    words = "must specify at least one metadata_field"
    refused(lambda: stub.GetModelMetadata(request), grpc.StatusCode.INVALID_ARGUMENT, words)
    request.metadata_field.append("weights")
    refused(lambda: stub.GetModelMetadata(request), grpc.StatusCode.INVALID_ARGUMENT, "weights is not supported")


def test_status_of_versions(client, channel):
    assert client.wait_until_ready(10) == 7
    assert client.status()[7].status.error_code == 0
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "lts"
    request.model_spec.version.value = 8
    words = "Could not find version 8 of model lts"
    refused(lambda: stub.GetModelStatus(request), grpc.StatusCode.NOT_FOUND, words)
    request.model_spec.name = "other"
    request.model_spec.ClearField("version")
    words = "Could not find any versions of model other"
    refused(lambda: stub.GetModelStatus(request), grpc.StatusCode.NOT_FOUND, words)


def test_reload_with_a_config_that_cannot_be_served_changes_nothing(client, channel):
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    request = model_management_pb2.ReloadConfigRequest()
    refused(
        lambda: stub.HandleReloadConfigRequest(request),
        grpc.StatusCode.INVALID_ARGUMENT,
        "Only ModelConfigList is currently supported",
    )
    request.config.model_config_list.config.add(name="lts", base_path="/nowhere", model_platform="tensorflow")
    refused(lambda: stub.HandleReloadConfigRequest(request), grpc.StatusCode.INVALID_ARGUMENT, "/nowhere")
    assert client.segment(photo_bytes(), ["the dog"])[0].version == 7


def test_health(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "tensorflow.serving.PredictionService"):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_more_predictions_than_allowed_are_refused_at_once(client, server):
    held = [server.admission for _ in range(server.admission.limit)]
    for admission in held:
        admission.__enter__()
    try:
        refused(lambda: client.predict(GOOD), grpc.StatusCode.RESOURCE_EXHAUSTED, "try again later")
        assert client.status()  # other calls are answered still
    finally:
        for admission in held:
            admission.__exit__()
    assert client.predict(GOOD)


def test_concurrent_requests_are_all_answered_alike(server):
    with Client(f"127.0.0.1:{server.port}", timeout=30) as client:
        expected = client.predict(GOOD)[0]["mask_png_bytes"][0]
        results = []

        def run():
            results.extend(client.predict(GOOD)[0]["mask_png_bytes"][0] for _ in range(5))

        threads = [threading.Thread(target=run) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(results) == 80
    assert set(results) == {expected}
