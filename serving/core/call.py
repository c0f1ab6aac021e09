"""One request's patience: until when its client waits, and whether it still does."""

import threading
import time

__all__ = ["Call"]


class Call:
    """How long an answer is wanted, whichever transport asks.

    Args:
        timeout: float, seconds from now; `None` for no limit.
        transport: `"GRPC"` or `"REST"`.

    Attributes:
        report: what is known of the request so far, for the one event that tells its end; `None` before it is begun.
    """

    def __init__(self, timeout=None, transport="GRPC"):
        self.transport = transport
        self.report = None
        self.started = time.monotonic()
        self.deadline = None if timeout is None else self.started + timeout
        self._cancelled = threading.Event()
        self._listeners = []
        self._lock = threading.Lock()

    @property
    def cancelled(self):
        """Whether the client is gone."""
        return self._cancelled.is_set()

    def remaining(self):
        """Returns the seconds that are left, never below 0; `None` without a limit."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def cancel(self):
        """The client is gone: whoever waits for this call is told at once."""
        with self._lock:
            self._cancelled.set()
            listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener()

    def on_cancel(self, listener):
        """Calls `listener()` when the client goes; now, if it has gone."""
        with self._lock:
            if not self._cancelled.is_set():
                self._listeners.append(listener)
                return
        listener()
