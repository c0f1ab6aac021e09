"""How a server runs, and what can be found wrong with it before anything slow is imported."""

import dataclasses
import math
import socket
from pathlib import Path

from serving.core.settings import ModelSettings
from serving.errors import StartError

_LONGEST_SOCKET_PATH = 107

__all__ = ["RequestLogSettings", "ServerOptions", "check_port", "check_socket", "make_settings"]


@dataclasses.dataclass(frozen=True)
class RequestLogSettings:
    """What is written down of requests.

    Attributes:
        path: prefix of the TFRecord files of `PredictionLog`s.
        sampling_rate: fraction of the answered requests that is written, 0 to 1.
        photos: whether the photos themselves are kept; else their statistics alone.
        max_bytes: of all files together; the oldest go first.
    """

    path: Path
    sampling_rate: float = 0.01
    photos: bool = False
    max_bytes: int = 1 << 30


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    """How a server runs. Defaults are TensorFlow Serving's where it has the option.

    Attributes:
        host: address to listen on.
        port: gRPC port; 0 takes any that is free, `Server.port` says which.
        rest_port: HTTP port; `None` for none, 0 takes any that is free, `Server.rest_port` says which.
        grpc_socket_path: path of a Unix socket for gRPC beside the port; `None` for none.
        grpc_channel_arguments: pairs of gRPC's own option names and values (int or str).
        grpc_max_threads: threads that answer gRPC; `None` for a few more than `max_predictions`.
        ssl: `SSLConfig` message for gRPC; `None` for plain text.
        health_service: whether gRPC's health service is there.
        profiler: whether TensorFlow's profiler service is there.
        rest_threads: HTTP requests answered at a time; `None` for 4 a processor.
        rest_timeout_seconds: how long an HTTP request may take.
        rest_cors: whether answers carry CORS headers.
        metrics_path: HTTP path of the Prometheus page; `None` for no page.
        poll_seconds: time between two looks for new versions; 0 never looks again.
        model_config_file: text proto `ModelServerConfig` that is looked at again; `None` for none.
        model_config_poll_seconds: time between two looks at `model_config_file`; 0 never looks again.
        num_load_threads: versions loaded at a time; 0 as 1.
        max_num_load_retries: how often a failed load is tried again.
        load_retry_interval_seconds: time between two tries; below 0 there is none.
        enable_model_warmup: whether a version's recorded requests are run before it is served.
        num_request_iterations_for_warmup: how often each of them is run; 0 as 1.
        allow_version_labels_for_unavailable_models: whether a label may be given to a version that is not served.
        saved_model_tags: tags of the graph to load.
        signature_method_name_check: whether Classify and Regress ask a signature for their method name.
        batching: `BatchingParameters` message of the server-side batching; `None` for none.
        per_model_batching: whether a version's own `batching_params.pbtxt` comes before `batching`.
        intra_op_threads, inter_op_threads: of TensorFlow's sessions; 0 leaves it to TensorFlow.
        session_config_text: text of a `tensorflow.ConfigProto` that the other session options change; empty for none.
        gpu_memory_fraction: of each GPU that the process takes at start; 0 lets it grow.
        tensor_content: whether numbers are answered as `tensor_content` and not in `float_val`, `int_val`, ...
        max_predictions: predictions at a time; more are refused with `RESOURCE_EXHAUSTED`.
        limits: `serving.core.limits.Limits`; `None` for its defaults with `max_predictions`.
        photo_cache_bytes: memory for encodings of photos seen lately; 0 for none.
        request_log: `RequestLogSettings`; `None` for none.
        grace_seconds: within how many seconds after SIGTERM the process is gone.
    """

    host: str = "0.0.0.0"
    port: int = 8500
    rest_port: int | None = None
    grpc_socket_path: str | None = None
    grpc_channel_arguments: tuple = ()
    grpc_max_threads: int | None = None
    ssl: object = None
    health_service: bool = True
    profiler: bool = True
    rest_threads: int | None = None
    rest_timeout_seconds: float = 30.0
    rest_cors: bool = False
    metrics_path: str | None = None
    poll_seconds: float = 1.0
    model_config_file: Path | None = None
    model_config_poll_seconds: float = 0.0
    num_load_threads: int = 0
    max_num_load_retries: int = 5
    load_retry_interval_seconds: float = 60.0
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 0
    allow_version_labels_for_unavailable_models: bool = False
    saved_model_tags: tuple[str, ...] = ("serve",)
    signature_method_name_check: bool = False
    batching: object = None
    per_model_batching: bool = False
    intra_op_threads: int = 0
    inter_op_threads: int = 0
    session_config_text: str = ""
    gpu_memory_fraction: float = 0.0
    tensor_content: bool = False
    max_predictions: int = 32
    limits: object = None
    photo_cache_bytes: int = 256 << 20
    request_log: RequestLogSettings | None = None
    grace_seconds: float = 30.0

    def __post_init__(self):
        if self.max_predictions < 1:
            raise StartError(f"max_predictions must be at least 1. Received: {self.max_predictions}")
        if not (math.isfinite(self.grace_seconds) and self.grace_seconds >= 0):
            raise StartError(f"grace_seconds must not be negative. Received: {self.grace_seconds}")
        if self.port and self.port == self.rest_port:
            raise StartError(f"the gRPC and the HTTP port must differ. Received: {self.port} for both")


def make_settings(models):
    """Checks the folders of models.

    Args:
        models: dict from model name to the folder with its version folders, or to `ModelSettings`.

    Returns:
        dict from model name to `ModelSettings`.

    Raises:
        StartError: if a folder is missing.
    """
    settings = {}
    for name, value in models.items():
        settings[name] = value if isinstance(value, ModelSettings) else ModelSettings(Path(value))
        folder = settings[name].base_path
        if not folder.is_dir():
            raise StartError(f"{folder}: no such folder; model {name!r} needs one with a folder per version")
    return settings


def check_port(host, port):
    """Raises `StartError` if nobody could listen on this port now; 0 is always well."""
    if not 0 <= port <= 65535:
        raise StartError(f"a port must be in 0..65535. Received: {port}")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            # As a server does: a port whose last connections are still fading out may be taken again.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None


def check_socket(path):
    """Raises `StartError` if nobody could listen on a Unix socket there; one of another server is taken over."""
    path = Path(path)
    if len(str(path).encode()) > _LONGEST_SOCKET_PATH:
        raise StartError(f"{path}: a socket's path has at most {_LONGEST_SOCKET_PATH} bytes")
    if path.exists() and not path.is_socket():
        raise StartError(f"{path}: this is no socket, and is not replaced by one")
    if not path.absolute().parent.is_dir():
        raise StartError(f"{path}: no such folder for a socket")
