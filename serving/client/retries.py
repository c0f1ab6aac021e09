"""Which failed requests are asked again, and when."""

import dataclasses
import random
import time

import grpc

from serving.errors import ServingError

__all__ = ["NO_RETRIES", "Attempts", "Retries"]

UNREACHABLE = grpc.StatusCode.UNAVAILABLE
FULL = grpc.StatusCode.RESOURCE_EXHAUSTED
BROKEN_OFF = grpc.StatusCode.CANCELLED

_MEANINGS = {UNREACHABLE: "the server cannot be reached", BROKEN_OFF: "the request was broken off"}
# What gRPC itself says with the same codes where asking again is of no use: a message above its limit, however empty
# the server is, and a channel that this process has closed.
_FINAL = {FULL: "larger than max", BROKEN_OFF: "Channel closed"}


@dataclasses.dataclass(frozen=True)
class Retries:
    """How often a request is asked, and how long to wait in between: each wait doubles, and a random half of it is
    left out so that many clients do not come back at one moment.

    Only a server that cannot be reached (`UNAVAILABLE`), has no room now (`RESOURCE_EXHAUSTED`) or has broken the
    request off (`CANCELLED`: gRPC does so with what a server that stops has not taken yet) is asked again; never after
    the deadline, and never where the same request would fail again.

    Attributes:
        attempts: int, times a request is sent at most; 1 for no retries.
        first_seconds: float, longest first wait.
        longest_seconds: float, longest wait.
    """

    attempts: int = 4
    first_seconds: float = 0.2
    longest_seconds: float = 5.0

    def __post_init__(self):
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1. Received: {self.attempts}")
        if not 0 <= self.first_seconds <= self.longest_seconds:
            raise ValueError(f"0 <= first_seconds <= longest_seconds must hold. Received: {self}")

    def begin(self, timeout):
        """Returns the `Attempts` of one request that may take `timeout` seconds; `None` for no limit."""
        return Attempts(self, timeout)


NO_RETRIES = Retries(attempts=1)


class Attempts:
    """The attempts of one request."""

    def __init__(self, retries, timeout):
        self._retries = retries
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self.failed, self._before = 0, ""

    def remaining(self):
        """Returns the seconds that an attempt may take now; `None` for no limit."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def wait_after(self, target, error):
        """Decides on a failed attempt.

        Args:
            target: str, the server, for the message.
            error: `grpc.RpcError`.

        Returns:
            float, seconds to wait before the next attempt.

        Raises:
            ServingError: if there is no further attempt.
        """
        self.failed += 1
        wait = self._next_wait(error)
        remaining = self.remaining()
        code, details = error.code(), error.details() or ""
        if code in _MEANINGS:
            details = f"{target}: {_MEANINGS[code]}: {details}"
        if wait is not None and self.failed < self._retries.attempts and (remaining is None or wait < remaining):
            self._before = details
            return wait
        if self.failed > 1:
            # Time that is over says little: what the time was spent on says more.
            before = "" if details == self._before else f"; before: {self._before}"
            details = f"{details} (asked {self.failed} times{before})"
        raise ServingError(code, details) from None

    def _next_wait(self, error):
        """Seconds, or `None` where asking again would be of no use."""
        code = error.code()
        if code not in (UNREACHABLE, FULL, BROKEN_OFF):
            return None
        if code in _FINAL and _FINAL[code] in (error.details() or ""):
            return None
        told = _told_wait(error)
        if told is not None:
            return told if told >= 0 else None
        longest = min(self._retries.longest_seconds, self._retries.first_seconds * 2 ** (self.failed - 1))
        return longest * random.uniform(0.5, 1)


def _told_wait(error):
    """What the server says in `grpc-retry-pushback-ms`, gRPC's own word: seconds, negative for never, or `None`."""
    told = dict(error.trailing_metadata() or ()).get("grpc-retry-pushback-ms")
    if told is None:
        return None
    try:
        return int(told) / 1000
    except ValueError:
        return -1.0
