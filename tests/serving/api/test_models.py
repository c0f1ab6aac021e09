"""Metadata, status and reload: TensorFlow Serving's words and codes, with its own messages."""

import pytest
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from serving.core.settings import ModelSettings
from tests.serving.asking import predict_request, refused
from tests.serving.houses import open_house


def status_request(name, version=None, label=None):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = name
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    return request


def metadata_request(name, *fields):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = name
    return request


def reload_request(*entries, metric_names=()):
    """Entries are dicts: `name`, `base_path`, and perhaps `labels` and `versions`."""
    request = model_management_pb2.ReloadConfigRequest(metric_names=metric_names)
    for entry in entries:
        config = request.config.model_config_list.config.add(
            name=entry["name"], base_path=str(entry["base_path"]), model_platform="tensorflow"
        )
        config.version_labels.update(entry.get("labels", {}))
        config.model_version_policy.specific.versions.extend(entry.get("versions", ()))
    return request


@pytest.fixture
def own(bases):
    """A house of its own: both versions of `default`, 123 labelled `stable`."""
    settings = ModelSettings(bases["default"], specific=(123, 124), labels=(("stable", 123),))
    with open_house({"default": settings}) as opened:
        opened.models = model_service_pb2_grpc.ModelServiceStub(opened.channel)
        opened.predict = prediction_service_pb2_grpc.PredictionServiceStub(opened.channel).Predict
        yield opened


def answer(own, **which):
    response = own.predict(predict_request("default", {"x": [2.0]}, **which))
    return response.model_spec.version.value, response.outputs["y"].float_val[0]


def test_metadata_needs_a_model_and_a_field_that_there_is(predictions):
    method = predictions.GetModelMetadata
    request = metadata_request("default", "signature_def")
    response = method(request)
    assert (response.model_spec.name, response.model_spec.version.value) == ("default", 124)
    request.ClearField("model_spec")
    refused(method, request, "INVALID_ARGUMENT", "Missing ModelSpec")
    words = "GetModelMetadataRequest must specify at least one metadata_field"
    refused(method, metadata_request("default"), "INVALID_ARGUMENT", words)
    words = "Metadata field weights is not supported"
    refused(method, metadata_request("default", "signature_def", "weights"), "INVALID_ARGUMENT", words)
    words = "Servable not found for request: Latest(other)"
    refused(method, metadata_request("other", "signature_def"), "NOT_FOUND", words)
    refused(method, metadata_request("", "signature_def"), "INVALID_ARGUMENT", "ModelSpec has no name specified.")


def test_metadata_of_tensorflow_2_have_the_start_up_too(ask):
    """The whole map of the file, as TensorFlow Serving gives it, although no request can name that entry."""
    response = ask.GetModelMetadata(metadata_request("words", "signature_def"))
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    start_up = signatures.signature_def["__saved_model_init_op"]
    assert (start_up.method_name, len(start_up.inputs), list(start_up.outputs)) == ("", 0, ["__saved_model_init_op"])
    output = start_up.outputs["__saved_model_init_op"]
    assert (output.name, output.dtype, output.tensor_shape.unknown_rank) == ("NoOp", 0, True)
    request = predict_request("words", {"inputs": [b"a"]}, signature="__saved_model_init_op")
    refused(ask.Predict, request, "FAILED_PRECONDITION", 'Serving signature key "__saved_model_init_op" not found.')


def test_status_of_all_versions_the_newest_first_or_of_one(own):
    entries = own.models.GetModelStatus(status_request("default")).model_version_status
    assert [(entry.version, entry.state, entry.status.error_code) for entry in entries] == [(124, 30, 0), (123, 30, 0)]
    (entry,) = own.models.GetModelStatus(status_request("default", 123)).model_version_status
    assert entry.version == 123
    assert len(own.models.GetModelStatus(status_request("default", label="stable")).model_version_status) == 2


def test_status_of_what_is_not_there(models):
    method = models.GetModelStatus
    refused(method, get_model_status_pb2.GetModelStatusRequest(), "INVALID_ARGUMENT", "Missing ModelSpec")
    refused(method, status_request("default", 8), "NOT_FOUND", "Could not find version 8 of model default")
    refused(method, status_request("other"), "NOT_FOUND", "Could not find any versions of model other")
    refused(method, status_request("other", 1), "NOT_FOUND", "Could not find version 1 of model other")


def test_status_says_what_in_the_folder_is_passed_over_and_why(half_plus_two, tmp_path):
    (tmp_path / "v1").symlink_to(half_plus_two)
    with open_house({"m": tmp_path}) as house:
        method = model_service_pb2_grpc.ModelServiceStub(house.channel).GetModelStatus
        refused(
            method, status_request("m"), "NOT_FOUND", "Could not find any versions of model m (", str(tmp_path / "v1")
        )


def test_reload_brings_other_models_and_takes_the_old_ones_away(own, bases):
    request = reload_request({"name": "odd", "base_path": bases["odd"]})
    response = own.models.HandleReloadConfigRequest(request)
    assert (response.HasField("status"), response.status.error_code, len(response.metric)) == (True, 0, 0)
    assert own.manager.names == ["odd"]
    refused(own.predict, predict_request("default", {"x": [2.0]}), "NOT_FOUND", "Servable not found")


def test_reload_moves_labels(own, bases):
    assert answer(own, label="stable") == (123, 3.0)
    entry = {"name": "default", "base_path": bases["default"], "versions": (123, 124)}
    own.models.HandleReloadConfigRequest(reload_request(entry | {"labels": {"stable": 124, "old": 123}}))
    assert answer(own, label="stable") == (124, 4.0)
    assert answer(own, label="old") == (123, 3.0)


def test_a_label_of_a_version_that_is_not_served_is_refused_and_the_old_labels_stay(own, bases):
    entry = {"name": "default", "base_path": bases["default"], "versions": (123, 124), "labels": {"stable": 777}}
    words = "Request to assign label to version 777 of model default, which is not currently available for inference"
    refused(own.models.HandleReloadConfigRequest, reload_request(entry), "FAILED_PRECONDITION", words)
    assert answer(own, label="stable") == (123, 3.0)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([{"name": "default", "base_path": "/nowhere/at/all"}], "/nowhere/at/all"),
        ([{"name": "a", "base_path": "/tmp"}, {"name": "a", "base_path": "/tmp"}], "Illegal to list model a multiple"),
        ([{"name": "", "base_path": "/tmp"}], "name"),
    ],
)
def test_a_config_that_cannot_be_served_changes_nothing(own, entries, words):
    refused(own.models.HandleReloadConfigRequest, reload_request(*entries), "INVALID_ARGUMENT", words)
    assert answer(own) == (124, 4.0)


def test_a_config_of_another_kind(own):
    words = (
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported"
    )
    method = own.models.HandleReloadConfigRequest
    refused(method, model_management_pb2.ReloadConfigRequest(), "INVALID_ARGUMENT", words)
    request = model_management_pb2.ReloadConfigRequest()
    request.config.custom_model_config.SetInParent()
    refused(method, request, "INVALID_ARGUMENT", words)


def test_a_new_model_that_does_not_become_available_is_told(own, bases, tmp_path):
    entries = [{"name": "default", "base_path": bases["default"]}, {"name": "empty", "base_path": tmp_path}]
    words = "1 model(s) did not become available: {"
    refused(own.models.HandleReloadConfigRequest, reload_request(*entries), "UNKNOWN", words, "empty")
    assert answer(own) == (124, 4.0)


def test_the_increase_of_metrics_that_a_reload_names(own, bases):
    counts = {"loads": 5}
    own.context.metric_value = lambda name: counts.get(name, 0)
    original = own.manager.reload

    def reload(settings):
        original(settings)
        counts["loads"] += 2

    own.manager.reload = reload
    request = reload_request({"name": "odd", "base_path": bases["odd"]}, metric_names=["loads", "unknown", "loads"])
    response = own.models.HandleReloadConfigRequest(request)
    assert [(one.name, one.int64_value_increase) for one in response.metric] == [("loads", 2), ("unknown", 0)]
