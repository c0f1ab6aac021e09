"""TensorFlow's profiler service on the gRPC port: what models compute for some time, as a trace for TensorBoard."""

import ipaddress
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

import grpc
import tensorflow as tf

from serving.errors import RequestError, explain, invalid_argument
from serving.wire.protos import message, method_types

__all__ = ["SERVICE", "Profiler", "check_peer"]

SERVICE = "tensorflow.ProfilerService"

_MOST_SECONDS = 600.0  # a trace stays in memory until its end
_SECONDS_BETWEEN_LOOKS = 0.05  # for a client that is gone

_ProfileResponse = message("tensorflow.ProfileResponse")
_TerminateResponse = message("tensorflow.TerminateResponse")
_Trace = message("tensorflow.profiler.XSpace")


class Profiler:
    """Takes one trace at a time, for clients on the same machine."""

    def __init__(self):
        self._session_id = None
        self._ended = threading.Event()

    def add_to(self, server):
        """Adds the service to a `grpc.Server`."""
        types = method_types(SERVICE)
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                _refusing(answer), types[name][0].FromString, types[name][1].SerializeToString
            )
            for name, answer in {"Profile": self._profile, "Terminate": self._terminate}.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    def _profile(self, request, rpc):
        seconds = request.opts.duration_ms / 1000
        if seconds > _MOST_SECONDS:
            raise invalid_argument(f"a trace takes at most {_MOST_SECONDS:g} s. Received: {seconds:g} s")
        path = None if request.emit_xspace else _path_of(request)
        content = self._collect(request.session_id, seconds, rpc)
        trace = _Trace.FromString(content)
        empty = not any(line.events for plane in trace.planes for line in plane.lines)
        if path is None:
            return _ProfileResponse(empty_trace=empty, xspace=trace)
        tf.io.gfile.makedirs(path.rpartition("/")[0])
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(content)
        return _ProfileResponse(empty_trace=empty)

    def _collect(self, session_id, seconds, rpc):
        """The trace as bytes of a message; TensorFlow gives it as a file alone."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                tf.profiler.experimental.start(folder)
            except tf.errors.AlreadyExistsError:
                raise RequestError(grpc.StatusCode.INTERNAL, "Another profiling session active.") from None
            try:
                self._ended.clear()
                self._session_id = session_id
                until = time.monotonic() + seconds
                while (left := until - time.monotonic()) > 0 and rpc.is_active():
                    if self._ended.wait(min(left, _SECONDS_BETWEEN_LOOKS)):
                        break
            finally:
                self._session_id = None
                tf.profiler.experimental.stop()
            (file,) = Path(folder).rglob("*.xplane.pb")
            return file.read_bytes()

    def _terminate(self, request, _):
        if request.session_id == self._session_id:
            self._ended.set()
        return _TerminateResponse()


def check_peer(peer):
    """Refuses who is on another machine: files are written wherever a request says.

    Args:
        peer: str, of gRPC, for example `ipv4:127.0.0.1:41002` or `unix:`.

    Raises:
        RequestError: `PERMISSION_DENIED`.
    """
    kind, _, rest = urllib.parse.unquote(peer).partition(":")
    if kind == "unix":
        return
    try:
        address = ipaddress.ip_address(rest.rpartition(":")[0].strip("[]"))
    except ValueError:
        address = None
    address = getattr(address, "ipv4_mapped", None) or address
    if address is None or not address.is_loopback:
        raise RequestError(grpc.StatusCode.PERMISSION_DENIED, "the profiler answers clients on its own machine alone")


def _refusing(answer):
    """A handler that checks who asks and turns errors into status codes; TensorFlow's own are all `INTERNAL`."""

    def handle(request, rpc):
        try:
            check_peer(rpc.peer())
            return answer(request, rpc)
        except RequestError as error:
            code, text = explain(error)
        except (tf.errors.OpError, OSError) as error:
            code, text = grpc.StatusCode.INTERNAL, explain(error)[1]
        rpc.abort(code, text)

    return handle


def _path_of(request):
    """The path of the trace's file, as TensorBoard looks for it."""
    host = request.opts.override_hostname or request.host_name
    for key, name in (("session_id", request.session_id), ("host_name", host)):
        if name in ("", ".", "..") or set(name) & set("/\\\0"):
            raise invalid_argument(f"{key} must be a plain name. Received: {name!r}")
    if not request.repository_root:
        raise invalid_argument("repository_root must not be empty")
    return "/".join((request.repository_root.rstrip("/"), request.session_id, host.replace(":", "_") + ".xplane.pb"))
