"""TensorFlow Serving's two services over gRPC.

Handlers take and give raw bytes: a message is parsed only once its bytes have found room in the server.
"""

import concurrent.futures
import threading
import time

import grpc
from google.protobuf.message import DecodeError, EncodeError

from serving.api.classify import classify
from serving.api.metadata import get_model_metadata
from serving.api.multi_inference import multi_inference
from serving.api.predict import predict
from serving.api.regress import regress
from serving.api.reload import reload_config
from serving.api.reporting import reporting
from serving.api.status import get_model_status
from serving.core.call import Call
from serving.errors import explain, invalid_argument, resource_exhausted
from serving.transport.inflate import InflateSmall, inflated
from serving.wire.amounts import parsed_bytes
from serving.wire.protos import method_types
from serving.wire.tensors import LARGEST_MESSAGE_BYTES

__all__ = ["SERVICES", "GrpcServer"]

SERVICES = {
    "tensorflow.serving.PredictionService": {
        "Predict": predict,
        "Classify": classify,
        "Regress": regress,
        "MultiInference": multi_inference,
        "GetModelMetadata": get_model_metadata,
    },
    "tensorflow.serving.ModelService": {
        "GetModelStatus": get_model_status,
        "HandleReloadConfigRequest": reload_config,
    },
}
"""Methods by the full name of their service."""

_ARGUMENTS = {
    "grpc.max_receive_message_length": LARGEST_MESSAGE_BYTES,
    "grpc.max_send_message_length": LARGEST_MESSAGE_BYTES,
    # Compressed messages arrive as they are: what they hold must find room first.
    "grpc.per_message_decompression": 0,
    # Else a second server would share the port and take half of the requests.
    "grpc.so_reuseport": 0,
    # Else a client whose machine is gone would hold a thread for two hours.
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_timeout_ms": 20_000,
}
_SPARE_THREADS = 64  # for messages on their way, status and refusals while every prediction's thread is busy
_MOST_CALLS = 2048  # open at a time; more are refused before anything of them is read
_SECONDS_TO_TAKE = 0.1  # for calls that have arrived, before nobody new is let in
_SECONDS_TO_SEND = 2.0  # for the last bytes of answers, when nothing runs any more; and for who watches health
_LONGEST_TIMEOUT = 10 * 365 * 86400.0  # seconds: a deadline beyond it is none, and clocks cannot count much further
_LONGEST_DETAILS = 4000  # bytes: gRPC's limit for all headers of an answer is 8 KiB, and a byte may take three


class GrpcServer:
    """Both services; it listens nowhere yet and is not started.

    Args:
        context: `ServingContext`.
        options: `ServerOptions`.

    Attributes:
        server: `grpc.Server`, for more services and for ports.
    """

    def __init__(self, context, options):
        self._idle = context.admission.idle
        self._answering = threading.Event()
        self._answering.set()
        threads = options.grpc_max_threads or options.max_predictions + _SPARE_THREADS
        # gRPC takes the first of two arguments of one name, so each must stand there once.
        arguments = _ARGUMENTS | dict(options.grpc_channel_arguments)
        self.server = grpc.server(
            concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="rpc"),
            options=list(arguments.items()),
            maximum_concurrent_rpcs=_MOST_CALLS,
            interceptors=(InflateSmall(),),
        )
        for service, methods in SERVICES.items():
            types = method_types(service)
            handlers = {
                name: grpc.unary_unary_rpc_method_handler(
                    _Handler(context, self._answering, name, types[name][0], answer)
                )
                for name, answer in methods.items()
            }
            self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))

    def stop(self, until):
        """Lets nobody new in and returns when all is answered, or broken off at `until`, of `time.monotonic()`.

        gRPC breaks off with `CANCELLED` what has arrived and what its one thread has not come to take yet. So answering
        pauses first: the thread has the interpreter for itself, and who waits for an answer sends nothing new.
        """
        self._answering.clear()
        time.sleep(_SECONDS_TO_TAKE)
        stopped, quiet = self.server.stop(max(0.0, until - time.monotonic())), 0
        self._answering.set()
        # Who watches health never ends by himself, and does not count.
        while not stopped.wait(0.05):
            # Between gRPC's threads and admission a call is nowhere for a moment: one look is not enough.
            quiet = quiet + 1 if self._idle.is_set() else 0
            if quiet == 5:
                self.server.stop(min(_SECONDS_TO_SEND, max(0.0, until - time.monotonic())))


class _Handler:
    """One method: bytes of a request in, bytes of its response out."""

    def __init__(self, context, answering, name, request_type, answer):
        self._context = context
        self._answering = answering
        self._name = name
        self._request_type = request_type
        self._answer = answer

    def __call__(self, content, rpc):
        self._answering.wait()
        try:
            return self._respond(content, _make_call(rpc))
        except Exception as error:
            code, message = explain(error)
            if getattr(error, "final", False):
                rpc.set_trailing_metadata((("grpc-retry-pushback-ms", "-1"),))  # gRPC's word for "never again"
        rpc.abort(code, _shorten(message))

    def _respond(self, content, call):
        admission = self._context.admission
        with reporting(self._context, call, self._name), inflated(content, admission) as message:
            with admission.receiving(parsed_bytes(message, self._request_type)):
                request = self._parse(message)
                return _serialize(self._answer(self._context, request, call))

    def _parse(self, content):
        try:
            return self._request_type.FromString(content)
        except DecodeError:
            name = self._request_type.DESCRIPTOR.full_name
            raise invalid_argument(f"the {len(content)} bytes of the request are no {name}") from None


def _serialize(response):
    try:
        content = response.SerializeToString()
    except EncodeError:  # beyond 2 GiB
        content = None
    if content is None or len(content) > LARGEST_MESSAGE_BYTES:
        raise resource_exhausted(f"the answer is larger than {LARGEST_MESSAGE_BYTES} bytes", final=True)
    return content


def _make_call(rpc):
    """The `Call` of an RPC: its deadline, and word when the client goes."""
    seconds = rpc.time_remaining()
    call = Call(None if seconds is None or seconds > _LONGEST_TIMEOUT else seconds, "GRPC")
    if not rpc.add_callback(call.cancel):
        call.cancel()
    return call


def _shorten(message):
    """Cuts what gRPC could not send, and nothing of an ordinary message."""
    content = message.encode("utf-8", "replace")
    if len(content) + 2 * sum(byte > 0x7E or byte < 0x20 for byte in content) <= _LONGEST_DETAILS:
        return message
    return content[: _LONGEST_DETAILS // 3].decode("utf-8", "ignore") + "…"
