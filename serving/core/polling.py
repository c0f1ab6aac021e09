"""The thread that looks at folders again and again, for a year."""

import logging
import threading
import time

from serving.core.tries import NEVER

__all__ = ["Polling"]

logger = logging.getLogger(__name__)

_SHORTEST_PAUSE = 0.01


class Polling:
    """Calls two functions in a thread of its own; an error in one of them is logged, and the next call follows.

    Args:
        seconds: float, time between two looks; `NEVER` looks once at most.
        look: callable without arguments, called every so often.
        retry: callable without arguments, called when `due` says so.
        due: callable that gives the time of the next retry, on the clock of `time.monotonic`, or `NEVER`.
    """

    def __init__(self, seconds, look, retry, due):
        self._seconds = seconds
        self._look, self._retry, self._due = look, retry, due
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread = None

    def start(self, at_once):
        """Begins; the first look is at once or after `seconds`. A second call does nothing."""
        if self._thread is None and not self._stopping.is_set():
            first = time.monotonic() + (0.0 if at_once else self._seconds)
            self._thread = threading.Thread(target=self._run, args=(first,), name="model-versions", daemon=True)
            self._thread.start()

    def wake(self):
        """Something has changed that `due` depends on."""
        self._wake.set()

    def stop(self):
        """Ends; a look that runs is not waited for longer than a second."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=1)

    def _run(self, look):
        while not self._stopping.is_set():
            now = time.monotonic()
            try:
                if now >= look:
                    look = now + self._seconds
                    self._look()
                elif now >= self._due():
                    self._retry()
            except Exception:  # a year of polling must outlive one bad look
                logger.exception("Looking for new versions failed; the next look follows")
            pause = min(look, self._due()) - time.monotonic()
            self._wake.wait(None if pause == NEVER else max(_SHORTEST_PAUSE, pause))
            self._wake.clear()
