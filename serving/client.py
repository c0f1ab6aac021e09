"""A small client of the served model, for any server that speaks TensorFlow Serving's gRPC interface."""

import dataclasses
import io
import time

import grpc
import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.wire.tensors import LARGEST_MESSAGE_BYTES

__all__ = ["Answer", "Client", "ServingError"]

AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE


class ServingError(RuntimeError):
    """A request that was not answered.

    Attributes:
        code: `grpc.StatusCode`.
    """

    exit_code = 1

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer to one expression, in pixels of the photo as it is shown: turned upright by its EXIF orientation.

    Attributes:
        mask: bool array `(height, width)`.
        score: float, mean probability inside the mask, 0 for an empty one.
        presence: float in 0..1, how surely the photo has what the expression names; `None` of a model that was exported
            before it was told.
        box: `(x0, y0, x1, y1)` of the mask, exclusive at the far side, zeros for an empty one.
        point: `(x, y)`, where the prior is highest.
        version: int, version of the model that answered.
    """

    mask: np.ndarray
    score: float
    presence: float | None
    box: tuple[int, int, int, int]
    point: tuple[int, int]
    version: int


class Client:
    """Asks a server; one client may be used by many threads. Use it in a `with` block, or `close` it.

    Args:
        target: str, `host:port`.
        model_name: str.
        timeout: float, seconds that a request may take.
        version: int, version to ask for; the newest if `None`.
        credentials: `grpc.ChannelCredentials` for TLS; plain text if `None`.
    """

    def __init__(self, target, model_name="lts", timeout=60.0, version=None, credentials=None):
        self.target = target
        self.model_name = model_name
        self.timeout = timeout
        self.version = version
        limits = [(f"grpc.max_{way}_message_length", LARGEST_MESSAGE_BYTES) for way in ("send", "receive")]
        if credentials is None:
            self._channel = grpc.insecure_channel(target, options=limits)
        else:
            self._channel = grpc.secure_channel(target, credentials, options=limits)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def segment(self, image_bytes, expressions):
        """Asks for the masks of expressions on one photo, which the server encodes once.

        Args:
            image_bytes: bytes of a JPEG or PNG file.
            expressions: list of str.

        Returns:
            List of `Answer`, in the order of the expressions.

        Raises:
            ServingError: if the server refuses or cannot be reached.
        """
        encoded = np.array([expression.encode("utf-8") for expression in expressions], dtype=object)
        inputs = {"image_bytes": np.array([image_bytes], dtype=object), "expression": encoded}
        outputs, spec = self.predict(inputs, "segment_expressions")
        return [
            Answer(
                mask=np.asarray(Image.open(io.BytesIO(outputs["mask_png_bytes"][row]))) > 0,
                score=float(outputs["score"][row]),
                presence=float(outputs["presence"][row]) if "presence" in outputs else None,
                box=tuple(outputs["box"][row].tolist()),
                point=tuple(outputs["point"][row].tolist()),
                version=spec.version.value,
            )
            for row in range(len(expressions))
        ]

    def predict(self, inputs, signature_name="serving_default", output_filter=()):
        """Calls any signature.

        Args:
            inputs: dict of arrays; strings as object arrays of bytes.
            signature_name: str.
            output_filter: names of the outputs to send back; all if empty.

        Returns:
            `(dict of numpy arrays, ModelSpec of the model that answered)`.

        Raises:
            ServingError: if the server refuses or cannot be reached.
        """
        request = predict_pb2.PredictRequest(output_filter=output_filter)
        self._fill(request.model_spec)
        request.model_spec.signature_name = signature_name
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
        response = self._call(self._predictions.Predict, request)
        return {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}, response.model_spec

    def metadata(self):
        """Returns the model's signatures: a dict from name to `SignatureDef`."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._fill(request.model_spec)
        response = self._call(self._predictions.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return dict(signatures.signature_def)

    def status(self):
        """Returns the states of the model's versions: a dict from version to `ModelVersionStatus`."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = self.model_name
        response = self._call(self._models.GetModelStatus, request)
        return {entry.version: entry for entry in response.model_version_status}

    def wait_until_ready(self, timeout=60.0, version=None):
        """Waits until the server is reachable and the model (or this version of it) answers.

        Returns:
            int, the newest version that answers, or `version`.

        Raises:
            ServingError: if it does not within `timeout` seconds, with the last reason.
        """
        until = time.monotonic() + timeout
        while True:
            try:
                states = self.status()
                ready = [number for number, entry in states.items() if entry.state == AVAILABLE]
                if ready and version in (None, *ready):
                    return version or max(ready)
                reason = f"versions {sorted(states)} are not available: " + "; ".join(
                    entry.status.error_message for entry in states.values() if entry.status.error_message
                )
            except ServingError as error:
                reason = str(error)
            if time.monotonic() > until:
                raise ServingError(
                    grpc.StatusCode.UNAVAILABLE, f"{self.target}: not ready after {timeout:g} s: {reason}"
                )
            time.sleep(0.1)

    def close(self):
        """Closes the channel."""
        self._channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _fill(self, spec):
        spec.name = self.model_name
        if self.version is not None:
            spec.version.value = self.version

    def _call(self, method, request):
        try:
            return method(request, timeout=self.timeout)
        except grpc.RpcError as error:
            code, details = error.code(), error.details() or ""
            if code == grpc.StatusCode.UNAVAILABLE:
                details = f"{self.target}: the server cannot be reached: {details}"
            raise ServingError(code, details) from None
