"""TensorFlow Serving's configuration files: text protos, and what is wrong with them in one line."""

import logging
import os
import ssl
import tempfile
import threading
from pathlib import Path

from google.protobuf import text_format

from serving.core.batching import BatchSettings
from serving.core.settings import settings_from_proto
from serving.errors import RequestError, StartError
from serving.wire import protos

__all__ = [
    "METRICS_PATH",
    "ConfigPoller",
    "read_batching",
    "read_channel_arguments",
    "read_metrics_path",
    "read_models",
    "read_proto",
    "read_ssl",
    "read_text",
]

logger = logging.getLogger(__name__)

METRICS_PATH = "/monitoring/prometheus/metrics"
"""Where TensorFlow Serving shows its metrics, if `MonitoringConfig` does not say."""


def read_proto(path, kind):
    """Reads a text proto.

    Args:
        path: path of the file.
        kind: class of the message.

    Returns:
        The message.

    Raises:
        StartError: if the file cannot be read, or is none of these; the line has the words of TensorFlow Serving.
    """
    return _parse(path, read_text(path), kind)


def read_text(path):
    """Returns the text of a file; `StartError` if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _parse(path, text, kind):
    try:
        return text_format.Parse(text, kind())
    except text_format.ParseError as error:
        name = kind.DESCRIPTOR.full_name
        raise StartError(f"Invalid protobuf file: '{path}': Error parsing text-format {name}: {error}") from None


def read_models(path):
    """Reads a `ModelServerConfig`.

    Returns:
        dict from model name to `ModelSettings`.

    Raises:
        StartError: as `read_proto`, and for an entry that cannot be served.
    """
    return _models(path, read_proto(path, protos.ModelServerConfig))


def _models(path, config):
    try:
        return settings_from_proto(config)
    except RequestError as error:
        raise StartError(f"{path}: {error.message}") from None


def read_batching(path):
    """Reads a `BatchingParameters`; without a path, those of TensorFlow Serving for `--enable_batching` alone.

    Raises:
        StartError: as `read_proto`, and for parameters that make no sense.
    """
    if not path:
        return protos.BatchingParameters(thread_pool_name={"value": "model_server_batch_threads"})
    message = read_proto(path, protos.BatchingParameters)
    try:
        BatchSettings.from_proto(message)
    except RequestError as error:
        raise StartError(f"{path}: {error.message}") from None
    return message


def read_metrics_path(path):
    """Returns the HTTP path of the Prometheus page that a `MonitoringConfig` asks for; `None` for no page."""
    config = read_proto(path, protos.MonitoringConfig).prometheus_config
    if not config.enable:
        return None
    shown = config.path or METRICS_PATH
    if not shown.startswith("/"):
        raise StartError(f"{path}: prometheus_config.path must begin with /. Received: {shown!r}")
    return shown


def read_ssl(path):
    """Reads an `SSLConfig`, and sees that key and certificates can be used.

    Raises:
        StartError: as `read_proto`; for a key or certificate that is missing, unreadable or not of the other; for
            `client_verify` without `custom_ca`.
    """
    config = read_proto(path, protos.SSLConfig)
    for field in ("server_key", "server_cert"):
        if not getattr(config, field):
            raise StartError(f"{path}: {field} is missing; it holds the PEM text itself, not a file's name")
    if config.client_verify and not config.custom_ca:
        raise StartError(f"{path}: client_verify needs custom_ca, the certificates that clients' are checked against")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # gRPC would say no more than that it cannot bind; Python's own TLS reads a key from a file alone.
    with tempfile.TemporaryDirectory() as folder:
        files = [os.path.join(folder, name) for name in ("cert", "key")]
        for name, text in zip(files, (config.server_cert, config.server_key), strict=True):
            Path(name).write_text(text, encoding="utf-8")
        try:
            context.load_cert_chain(*files, password=lambda: "")
        except (ssl.SSLError, ValueError, OSError) as error:
            raise StartError(f"{path}: server_key and server_cert are no PEM pair: {_reason(error)}") from None
    try:
        if config.custom_ca:
            context.load_verify_locations(cadata=config.custom_ca)
    except (ssl.SSLError, ValueError) as error:
        raise StartError(f"{path}: custom_ca is no PEM certificate: {_reason(error)}") from None
    return config


def _reason(error):
    return getattr(error, "reason", None) or str(error) or type(error).__name__


def read_channel_arguments(text):
    """Reads `key=value,key=value`: a whole number becomes an int, as in TensorFlow Serving.

    Returns:
        Tuple of `(key, int or str)`.
    """
    arguments = []
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not key or not equals:
            raise StartError(f"--grpc_channel_arguments must be key=value,key=value. Received: {part!r}")
        try:
            number = int(value)
        except ValueError:
            number = None
        arguments.append((key, value if number is None or not -(2**31) <= number < 2**31 else number))
    return tuple(arguments)


class ConfigPoller:
    """Looks at a `ModelServerConfig` file from time to time; a changed one is taken, a broken one leaves the old.

    What was set over gRPC in between stays until the file changes.

    Args:
        path: path of the file.
        text: str, its content that is in force.
        reload: callable that takes a dict of `ModelSettings`; raises `RequestError` if they cannot be taken.
        seconds: float, time between two looks.
    """

    def __init__(self, path, text, reload, seconds):
        self._path, self._text, self._reload, self._seconds = path, text, reload, seconds
        self._told = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="config-file", daemon=True)

    def start(self):
        """Looks from now on, in a thread of its own."""
        self._thread.start()

    def stop(self):
        """Looks no more. A reload that runs is not waited for."""
        self._stopping.set()

    def look(self):
        """Takes the file if it changed. What was refused is tried again: a label may wait for its version."""
        try:
            text = Path(self._path).read_text(encoding="utf-8")
            if text == self._text:
                self._told = None
                return
            self._reload(_models(self._path, _parse(self._path, text, protos.ModelServerConfig)))
        except (OSError, UnicodeDecodeError, StartError, RequestError) as error:
            if str(error) != self._told:
                logger.error("%s is not taken, and what was set before stays: %s", self._path, error)
                self._told = str(error)
            return
        self._text, self._told = text, None
        logger.info("%s changed and is in force", self._path)

    def _poll(self):
        while not self._stopping.wait(self._seconds):
            try:
                self.look()
            except Exception:  # the next look must come, whatever happened in this one
                logger.exception("%s: looking at it failed", self._path)
