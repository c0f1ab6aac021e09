"""The end of every request is told once, answered or refused, whichever method and transport."""

import time

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.api.predict import run_signature
from serving.api.reporting import reporting
from serving.core.call import Call
from serving.core.limits import Limits
from serving.errors import RequestError, invalid_argument
from serving.wire.protos import ModelSpec, PredictRequest
from serving.wire.tensors import to_array
from tests.serving.api.example_requests import classification, multi, regression
from tests.serving.asking import predict_request
from tests.serving.houses import open_house

X = {"x": np.array([2.0, 3.0, 4.0], np.float32)}


@pytest.fixture
def own(bases):
    with open_house({"default": bases["default"]}, Limits(max_rows=4)) as opened:
        opened.predictions = prediction_service_pb2_grpc.PredictionServiceStub(opened.channel)
        opened.models = model_service_pb2_grpc.ModelServiceStub(opened.channel)
        yield opened


def told(own, method, request):
    """The one event that a request gives."""
    before = len(own.ended)
    try:
        method(request, timeout=30)
    except grpc.RpcError:
        pass
    until = time.monotonic() + 10
    while len(own.ended) == before and time.monotonic() < until:
        time.sleep(0.002)
    (event,) = own.ended[before:]
    return event


def named(kind, name):
    request = kind()
    request.model_spec.name = name
    return request


def test_every_method_tells_its_end_once(own):
    metadata = named(get_model_metadata_pb2.GetModelMetadataRequest, "default")
    metadata.metadata_field.append("signature_def")
    predictions, models = own.predictions, own.models
    status = named(get_model_status_pb2.GetModelStatusRequest, "default")
    cases = [
        (predictions.Predict, predict_request("default", X), "Predict", "serving_default", 3, 124),
        (predictions.Classify, classification(), "Classify", "classify_x_to_y", 1, 124),
        (predictions.Regress, regression(values=(1, 2)), "Regress", "regress_x_to_y", 2, 124),
        (predictions.MultiInference, multi(("regress_x_to_y", "regress")), "MultiInference", "regress_x_to_y", 1, 124),
        (predictions.GetModelMetadata, metadata, "GetModelMetadata", "serving_default", 0, 124),
        (models.GetModelStatus, status, "GetModelStatus", "", 0, None),
    ]
    for method, request, name, signature, rows, version in cases:
        event = told(own, method, request)
        assert (event.method, event.transport, event.code) == (name, "GRPC", grpc.StatusCode.OK)
        assert (event.model, event.signature, event.rows, event.version) == ("default", signature, rows, version)
        assert 0 < event.seconds < 30
        assert event.request.SerializeToString() and event.response.SerializeToString()


@pytest.mark.parametrize(
    ("request_", "code", "rows", "version"),
    [
        (predict_pb2.PredictRequest(), "INVALID_ARGUMENT", 0, None),
        (predict_request("other", X), "NOT_FOUND", 0, None),
        (predict_request("default", X, "nothing"), "FAILED_PRECONDITION", 0, 124),
        (predict_request("default", {"z": X["x"]}), "INVALID_ARGUMENT", 0, 124),
        (predict_request("default", {"x": np.zeros(5, np.float32)}), "RESOURCE_EXHAUSTED", 5, 124),
    ],
)
def test_a_refusal_tells_what_was_known_by_then(own, request_, code, rows, version):
    event = told(own, own.predictions.Predict, request_)
    assert (event.code.name, event.rows, event.version, event.response) == (code, rows, version, None)
    assert event.model == request_.model_spec.name


def test_bytes_that_are_no_request_and_a_refused_reload_are_told(own):
    event = told(own, own.channel.unary_unary("/tensorflow.serving.PredictionService/Classify"), b"\xff")
    assert (event.method, event.code.name, event.model, event.request) == ("Classify", "INVALID_ARGUMENT", "", None)
    event = told(own, own.models.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest())
    assert (event.method, event.code.name) == ("HandleReloadConfigRequest", "INVALID_ARGUMENT")


def test_a_fault_of_the_server_is_told_and_logged(own, caplog):
    def fail(*_):
        raise ZeroDivisionError("a fault of ours")

    own.context.run = fail
    event = told(own, own.predictions.Predict, predict_request("default", X))
    assert event.code == grpc.StatusCode.INTERNAL
    assert "Predict failed" in caplog.text and "a fault of ours" in caplog.text


def read_x(signature):
    return X


def test_one_call_through_a_transport_and_a_method_is_one_event(house):
    """REST opens the report before it reads the body, and runs the method within it."""
    before, call = len(house.ended), Call(30, "REST")
    with reporting(house.context, call, "Predict") as report:
        result = run_signature(house.context, ModelSpec(name="default"), read_x, call)
        assert (report.model, report.version, report.rows) == ("default", 124, 3)
    (event,) = house.ended[before:]
    assert (event.transport, event.code) == ("REST", grpc.StatusCode.OK)
    assert (result.version, result.signature, result.outputs["y"].tolist()) == (124, "serving_default", [4.0, 4.5, 5.0])


def test_what_a_transport_itself_refuses_is_told(house):
    before = len(house.ended)
    with pytest.raises(RequestError), reporting(house.context, Call(30, "REST"), "Regress") as report:
        report.model = "default"
        raise invalid_argument("JSON Parse error")
    (event,) = house.ended[before:]
    expected = ("Regress", "REST", "default", grpc.StatusCode.INVALID_ARGUMENT)
    assert (event.method, event.transport, event.model, event.code) == expected


def test_requests_that_come_as_json_are_made_messages_when_they_are_logged(house):
    before, spec = len(house.ended), ModelSpec(name="default", signature_name="serving_default")
    run_signature(house.context, spec, read_x, Call(30, "REST"), ["y"])
    (event,) = house.ended[before:]
    request, response = event.request()
    assert isinstance(request, PredictRequest)
    assert (request.model_spec, list(request.output_filter)) == (spec, ["y"])
    assert to_array("x", request.inputs["x"], 1, None).tolist() == X["x"].tolist()
    assert to_array("y", response.outputs["y"], 1, None).tolist() == [4.0, 4.5, 5.0]


@pytest.mark.parametrize(("timeout", "cancel", "code"), [(0.0, False, "DEADLINE_EXCEEDED"), (9.0, True, "CANCELLED")])
def test_an_answer_that_nobody_waits_for_is_none(house, timeout, cancel, code):
    before, call = len(house.ended), Call(timeout)
    with reporting(house.context, call, "Predict"):
        if cancel:
            call.cancel()
    assert house.ended[before:][0].code.name == code
