"""PredictionService and ModelService of TensorFlow Serving over the models that are held."""

import functools
import logging
import threading

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.api.context import ServingContext
from serving.api.predict import predict as predict_through
from serving.core import limits
from serving.core.call import Call
from serving.core.events import Events
from serving.core.settings import settings_from_proto
from serving.errors import RequestError, explain, invalid_argument, not_found
from serving.options import ServerOptions
from serving.wire.protos import PredictRequest

__all__ = ["Admission", "ModelService", "PredictionService", "describe", "predict", "report_status"]

logger = logging.getLogger(__name__)


class Admission:
    """Bounds how many predictions are in the house: waiting ones would only grow older than their clients' patience.

    Args:
        limit: int. Predictions at a time; a further one is refused at once with `RESOURCE_EXHAUSTED`.
    """

    def __init__(self, limit):
        self.limit = limit
        self._free = threading.Semaphore(limit)

    def __enter__(self):
        if not self._free.acquire(blocking=False):
            message = f"{self.limit} predictions are being made, the most that this server allows; try again later"
            raise RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)

    def __exit__(self, *_):
        self._free.release()


def _answering(method):
    """Turns any error of a method into its gRPC status, one line and never a call stack."""

    @functools.wraps(method)
    def wrapped(self, request, context):
        try:
            return method(self, request)
        except Exception as error:
            code, message = explain(error)
            if code == grpc.StatusCode.INTERNAL:
                logger.exception("%s failed", method.__name__)
            context.abort(code, message)

    return wrapped


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """`Predict` and `GetModelMetadata`; the other methods answer `UNIMPLEMENTED`.

    Args:
        models: `Manager`.
        admission: `Admission`.
    """

    def __init__(self, models, admission):
        self._models = models
        self._admission = admission

    @_answering
    def Predict(self, request):
        """Runs one signature of one model; the answer names the version that gave it."""
        return predict(self._models, self._admission, request)

    @_answering
    def GetModelMetadata(self, request):
        """The signatures of one model, as its SavedModel declares them."""
        return describe(self._models, request)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """`GetModelStatus` and `HandleReloadConfigRequest`.

    Args:
        models: `Manager`.
    """

    def __init__(self, models):
        self._models = models

    @_answering
    def GetModelStatus(self, request):
        """States of all versions of a model, or of one; the newest first."""
        return report_status(self._models, request)

    @_answering
    def HandleReloadConfigRequest(self, request):
        """Serves other models from now on; answers once they are loaded."""
        self._models.reload(settings_from_proto(request.config))
        missing = [name for name in self._models.names if not self._models.serves(name)]
        if missing:
            message = f"Some models did not become available: {{{', '.join(missing)}}}"
            raise RequestError(grpc.StatusCode.UNKNOWN, message)
        return model_management_pb2.ReloadConfigResponse()


def predict(models, admission, request):
    """Answers a `PredictRequest` with a `PredictResponse`; raises what `explain` explains."""
    _check_spec(request)
    with admission:
        context = ServingContext(models, limits.Admission(), Events(), ServerOptions())
        ours = PredictRequest.FromString(request.SerializeToString())
        answer = predict_through(context, ours, Call())
    return predict_pb2.PredictResponse.FromString(answer.SerializeToString())


def describe(models, request):
    """Answers a `GetModelMetadataRequest`."""
    _check_spec(request)
    if not request.metadata_field:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != "signature_def":
            raise invalid_argument(f"Metadata field {field} is not supported")
    servable = models.get(request.model_spec)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, definition in servable.signature_defs.items():
        signatures.signature_def[name].ParseFromString(definition.SerializeToString())
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = servable.name
    response.model_spec.version.value = servable.version
    response.metadata["signature_def"].Pack(signatures)
    return response


def report_status(models, request):
    """Answers a `GetModelStatusRequest`."""
    _check_spec(request)
    spec = request.model_spec
    states = models.states(spec.name)
    if spec.HasField("version"):
        version = spec.version.value
        if version not in states:
            raise not_found(f"Could not find version {version} of model {spec.name}")
        states = {version: states[version]}
    elif not states:
        raise not_found(f"Could not find any versions of model {spec.name}")
    response = get_model_status_pb2.GetModelStatusResponse()
    for version, state in sorted(states.items(), reverse=True):
        entry = response.model_version_status.add(version=version, state=state.state)
        entry.status.error_code = state.error_code
        entry.status.error_message = state.error_message
    return response


def _check_spec(request):
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
