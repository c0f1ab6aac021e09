"""One stream of what happens in a server. Health, metrics, status page and log listen to it; nothing asks twice."""

import dataclasses
import logging
import threading

__all__ = ["Draining", "Events", "FolderPassedOver", "LookFailed", "RequestEnded", "SettingsChanged", "VersionChanged"]

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class VersionChanged:
    """A version has another state.

    Attributes:
        model: str.
        version: int.
        state: number of `ModelVersionStatus.State`.
        error_code: gRPC code as an int, 0 for none.
        error_message: str.
        seconds: float, how long a load took; `None` for other changes.
    """

    model: str
    version: int
    state: int
    error_code: int = 0
    error_message: str = ""
    seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class FolderPassedOver:
    """Something in a model's folder that is served as no version: said once, and again when the reason changes."""

    model: str
    path: str
    reason: str


@dataclasses.dataclass(frozen=True)
class LookFailed:
    """A model's folder could not be read; what is served stays."""

    model: str
    path: str
    reason: str


@dataclasses.dataclass(frozen=True)
class RequestEnded:
    """A request was answered or refused.

    Attributes:
        model: str, as the request names it.
        version: int that answered, `None` if it came to none.
        signature: str.
        method: `"Predict"`, `"Classify"`, ...
        transport: `"GRPC"` or `"REST"`.
        code: `grpc.StatusCode`.
        seconds: float, from the moment when the request was read.
        rows: int, 0 if it was refused before they were counted.
        request, response: messages, for the request log; `None` where there are none. Where they would have to be made
            first, `request` is a callable that gives both.
    """

    model: str
    version: int | None
    signature: str
    method: str
    transport: str
    code: object
    seconds: float
    rows: int = 0
    request: object = None
    response: object = None


@dataclasses.dataclass(frozen=True)
class SettingsChanged:
    """Other models, version policies or labels hold: those of `Manager.settings`."""


@dataclasses.dataclass(frozen=True)
class Draining:
    """The server ends: it still answers for `seconds`, and health tells it at once."""

    seconds: float


class Events:
    """Hands each event to every listener, in the thread where it happens; a listener that fails is logged."""

    def __init__(self):
        self._listeners = ()
        self._changing = threading.Lock()

    def subscribe(self, listener):
        """Calls `listener(event)` from now on."""
        with self._changing:
            self._listeners = (*self._listeners, listener)

    def emit(self, event):
        """Tells all listeners."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:  # a metric or a log line must never cost an answer
                logger.exception("A listener failed on %s", type(event).__name__)
