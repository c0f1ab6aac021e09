"""TensorFlow Serving's REST interface beside gRPC: predict, status and metadata of a model as JSON."""

import http.server
import json
import logging
import re
import threading

import grpc
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from serving.api.services import describe, predict, report_status
from serving.core.servable import DEFAULT_SIGNATURE
from serving.errors import RequestError, StartError, explain, invalid_argument, not_found
from serving.wire.json_tensors import columns_of, to_json, to_proto
from serving.wire.tensors import LARGEST_MESSAGE_BYTES

__all__ = ["RestServer"]

logger = logging.getLogger(__name__)

_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?(?P<method>:predict|/metadata)?"
)
_SECONDS_TO_SEND = 30  # a client that sends nothing for so long is cut off
_HTTP_CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 412,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.UNIMPLEMENTED: 501,
}


class RestServer:
    """Answers over HTTP until it is stopped.

    Args:
        models: `Manager`.
        admission: `Admission`, the one of the gRPC server: the bound holds for both together.
        host: str.
        port: int; 0 takes any free one, `port` says which.

    Raises:
        StartError: if the port is in use.
    """

    def __init__(self, models, admission, host, port):
        handler = type("Handler", (_Handler,), {"models": models, "admission": admission})
        try:
            self._server = http.server.ThreadingHTTPServer((host, port), handler)
        except OSError as error:
            raise StartError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="rest", daemon=True)

    def start(self):
        """Answers from now on, in threads of its own."""
        self._thread.start()

    def stop(self):
        """Takes no more requests."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection. `models` and `admission` are set by `RestServer`."""

    protocol_version = "HTTP/1.1"
    server_version = "lts"
    timeout = _SECONDS_TO_SEND

    def do_GET(self):
        """Status or metadata."""
        self._answer(self._get)

    def do_POST(self):
        """Predict."""
        self._answer(self._post)

    def log_message(self, format, *arguments):
        """Requests are not logged one by one; `format` is the base class's name for it."""
        logger.debug(format, *arguments)

    def _answer(self, make):
        try:
            code, body = 200, make()
        except Exception as error:
            status, message = explain(error)
            code, body = _HTTP_CODES.get(status, 500), {"error": message}
            if code == 500:
                logger.exception("%s %s failed", self.command, self.path)
            # What is left of the body was not read and must not be taken for the next request.
            self.close_connection = True
        content = json.dumps(body).encode("utf-8")
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _get(self):
        found = self._match()
        if found["method"] == "/metadata":
            request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
            return _as_json(describe(self.models, _fill(request, found)))
        if found["method"]:
            raise invalid_argument(f"Malformed request: GET {self.path}")
        return _as_json(report_status(self.models, _fill(get_model_status_pb2.GetModelStatusRequest(), found)))

    def _post(self):
        found = self._match()
        if found["method"] != ":predict":
            raise invalid_argument(f"Malformed request: POST {self.path}")
        body = self._read_body()
        request = _fill(predict_pb2.PredictRequest(), found)
        signature_name = body.get("signature_name", "") if isinstance(body, dict) else ""
        request.model_spec.signature_name = signature_name if isinstance(signature_name, str) else ""
        specs = self.models.get(request.model_spec).input_specs(request.model_spec.signature_name or DEFAULT_SIGNATURE)
        columns, in_rows = columns_of(body, sorted(specs))
        for name, value in columns.items():
            if name not in specs:
                raise invalid_argument(f"input {name!r} is none of {', '.join(sorted(specs))}")
            request.inputs[name].CopyFrom(to_proto(name, value, specs[name]))
        return to_json(predict(self.models, self.admission, request).outputs, in_rows)

    def _match(self):
        found = _PATH.fullmatch(self.path.partition("?")[0])
        if not found:
            raise not_found(f"Malformed request: {self.command} {self.path}")
        return found

    def _read_body(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > LARGEST_MESSAGE_BYTES:
            raise invalid_argument(f"a body of at most {LARGEST_MESSAGE_BYTES} bytes is needed. Received: {length!r}")
        try:
            return json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise invalid_argument(f"JSON Parse error: {error}") from None
        except TimeoutError:
            raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, "the body did not arrive in time") from None


def _fill(request, found):
    request.model_spec.name = found["name"]
    if found["version"]:
        request.model_spec.version.value = min(int(found["version"]), 2**63 - 1)
    if found["label"]:
        request.model_spec.version_label = found["label"]
    return request


def _as_json(message):
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
