"""Requests that a client sends and the answers that it reads; the sync and the async client send the same."""

import time
import types

import grpc
import numpy as np

from serving.client.answers import Answer
from serving.client.channel import channel_options
from serving.client.retries import Retries
from serving.errors import RequestError, ServingError
from serving.wire import protos
from serving.wire.tensors import from_array, to_array

__all__ = ["SEGMENT_SIGNATURES", "Asking", "make_stub"]

SEGMENT_SIGNATURES = {False: "segment_expressions", True: "locate_and_segment"}
"""Signatures of one photo and its sentences, by whether the position prior is wanted."""

_STATES = protos.ModelVersionStatus.State


def make_stub(channel, service):
    """Callables for the methods of a service.

    Args:
        channel: `grpc.Channel` or `grpc.aio.Channel`.
        service: str, full name.

    Returns:
        Namespace with a callable `(request, timeout=None)` for each method.
    """
    return types.SimpleNamespace(
        **{
            name: channel.unary_unary(
                f"/{service}/{name}",
                # Any class of the message will do, TensorFlow Serving's own too.
                request_serializer=lambda request: request.SerializeToString(),
                response_deserializer=kinds[1].FromString,
            )
            for name, kinds in protos.method_types(service).items()
        }
    )


class Asking:
    """What both clients know: whom to ask, for how long, and how requests and answers are written.

    Takes the arguments of `Client`, which says what they are.
    """

    _grpc = grpc
    """The module that opens channels."""

    def __init__(
        self,
        target,
        model_name="lts",
        timeout=60.0,
        version=None,
        credentials=None,
        *,
        version_label=None,
        retries=None,
        server_name=None,
    ):
        if version is not None and version_label is not None:
            raise ValueError(f"give version or version_label. Received: {version} and {version_label!r}")
        self.target = target
        self.model_name = model_name
        self.timeout = timeout
        self.version = version
        self.version_label = version_label
        self.retries = Retries() if retries is None else retries
        options = channel_options(target, server_name)
        if credentials is None:
            self._channel = self._grpc.insecure_channel(target, options=options)
        else:
            self._channel = self._grpc.secure_channel(target, credentials, options=options)
        self._predictions = make_stub(self._channel, "tensorflow.serving.PredictionService")
        self._models = make_stub(self._channel, "tensorflow.serving.ModelService")

    def _begin(self, timeout, retries):
        return (retries or self.retries).begin(self.timeout if timeout is None else timeout)

    def _patience(self, until):
        """Seconds that one look may take whose answer is wanted at `until`."""
        left = max(0.1, until - time.monotonic())
        return left if self.timeout is None else min(self.timeout, left)

    def _fill(self, spec, signature_name=""):
        spec.name, spec.signature_name = self.model_name, signature_name
        if self.version is not None:
            spec.version.value = self.version
        elif self.version_label is not None:
            spec.version_label = self.version_label

    def _segment_inputs(self, image_bytes, expressions):
        # An empty list would be one of floats.
        return {"image_bytes": np.array([image_bytes], object), "expression": np.array(expressions, object)}

    def _read_answers(self, outputs, spec, count):
        try:
            rows = len(outputs.get("mask_png_bytes", ()))
            if outputs.get("mask_png_bytes") is not None and rows != count:
                raise ValueError(f"{rows} answers to {count} expressions")
            return [Answer.from_outputs(outputs, row, spec.version.value) for row in range(count)]
        except ValueError as error:
            raise ServingError(grpc.StatusCode.UNKNOWN, f"{self.target}: {error}") from None

    def _predict_request(self, inputs, signature_name, output_filter):
        request = protos.PredictRequest(output_filter=output_filter)
        self._fill(request.model_spec, signature_name)
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(from_array(array, as_content=True))
        return request

    def _read_outputs(self, response):
        try:
            outputs = {name: to_array(name, proto, proto.dtype, None) for name, proto in response.outputs.items()}
        except RequestError as error:
            raise ServingError(grpc.StatusCode.UNKNOWN, f"{self.target}: the answer is damaged: {error}") from None
        return outputs, response.model_spec

    def _examples_request(self, kind, examples, signature_name):
        request = kind()
        self._fill(request.model_spec, signature_name)
        request.input.example_list.SetInParent()
        for features in examples:
            added = request.input.example_list.examples.add().features.feature
            for name, values in features.items():
                _fill_feature(added[name], np.asarray(values).ravel())
        return request

    def _read_classes(self, response):
        rows = response.result.classifications
        return [[(one.label, one.score) for one in row.classes] for row in rows]

    def _read_values(self, response):
        return [row.value for row in response.result.regressions]

    def _metadata_request(self):
        request = protos.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._fill(request.model_spec)
        return request

    def _read_metadata(self, response):
        # By hand: `Any.Unpack` compares type names of the message's pool, which is not the default one.
        signatures = protos.SignatureDefMap.FromString(response.metadata["signature_def"].value)
        return dict(signatures.signature_def)

    def _status_request(self):
        request = protos.GetModelStatusRequest()
        request.model_spec.name = self.model_name
        return request

    def _read_status(self, response):
        return {entry.version: entry for entry in response.model_version_status}

    def _ready(self, states, version):
        """The version that answers: `version`, or the client's own, or the newest; `None` if it does not."""
        ready = [number for number, entry in states.items() if entry.state == _STATES.Value("AVAILABLE")]
        wanted = self.version if version is None else version
        if wanted is None:
            return max(ready, default=None)
        return wanted if wanted in ready else None

    def _why_not_ready(self, states):
        told = "; ".join(entry.status.error_message for entry in states.values() if entry.status.error_message)
        return f"versions {sorted(states)} are not available: {told}".rstrip(": ")

    def _not_ready(self, timeout, reason):
        return ServingError(grpc.StatusCode.UNAVAILABLE, f"{self.target}: not ready after {timeout:g} s: {reason}")


def _fill_feature(feature, values):
    """Writes the values of one feature of a `tf.Example` into the list of their kind."""
    if values.dtype.kind in "iub":
        feature.int64_list.value.extend(values.tolist())
    elif values.dtype.kind == "f":
        feature.float_list.value.extend(values.tolist())
    elif values.dtype.kind in "SUO":
        feature.bytes_list.value.extend(
            value.encode("utf-8") if isinstance(value, str) else value for value in values.tolist()
        )
    else:
        raise ValueError(f"a feature is of numbers, text or bytes. Received: {values.dtype}")
