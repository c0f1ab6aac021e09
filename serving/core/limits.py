"""How much a server takes on at a time. What a request costs is known before it is parsed and before anything runs."""

import collections
import contextlib
import dataclasses
import threading

import grpc

from serving.core.cost import Cost, cost_of
from serving.errors import RequestError, resource_exhausted

__all__ = ["Admission", "Cost", "Limits", "cost_of"]

_MOST_SENTENCE_BYTES = 1 << 20  # of one request: a thousand rows of a thousand letters


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds of what is in the house at a time, over all transports.

    Attributes:
        max_predictions: predictions that run or wait for their turn.
        max_rows: rows of one request.
        max_bytes: of requests, as they arrive and as arrays.
        max_pixels: pixels of photos, once decoded; a photo counts once for each sentence asked of it.
        rows_running: rows inside the graph. A request with more runs alone.
    """

    max_predictions: int = 32
    max_rows: int = 1024
    max_bytes: int = 512 << 20
    max_pixels: int = 200_000_000
    rows_running: int = 16

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1. Received: {value}")


class Admission:
    """Lets requests in, and to the graph in the order in which they came.

    Where there is no room, a request is refused at once with `RESOURCE_EXHAUSTED`: a longer queue would only grow older
    than its clients' patience.

    Args:
        limits: `Limits`.

    Attributes:
        idle: `threading.Event` that is set while nothing is in the house.
    """

    def __init__(self, limits=None):
        self.limits = limits or Limits()
        self.idle = threading.Event()
        self.idle.set()
        self._lock = threading.Lock()
        self._bytes = self._pixels = self._predictions = self._receiving = self._rows = 0
        self._waiting = collections.OrderedDict()  # _Turn -> None, oldest first

    @property
    def predictions(self):
        """How many predictions run or wait."""
        return self._predictions

    @property
    def waiting(self):
        """How many predictions wait for their turn."""
        return len(self._waiting)

    @property
    def rows(self):
        """How many rows are inside the graph."""
        return self._rows

    @property
    def rows_waiting(self):
        """How many rows wait for their turn."""
        with self._lock:
            return sum(turn.rows for turn in self._waiting)

    @property
    def bytes(self):
        """How many bytes of requests are in the house."""
        return self._bytes

    @property
    def pixels(self):
        """How many pixels of photos are in the house, as `Cost` counts them."""
        return self._pixels

    @contextlib.contextmanager
    def receiving(self, number_of_bytes):
        """Holds room for a message within the block, from before it is parsed.

        Raises:
            RequestError: `RESOURCE_EXHAUSTED` if the messages in the house would be too large together.
        """
        with self._lock:
            self._take_bytes(number_of_bytes)
            self._receiving += 1
            self.idle.clear()
        try:
            yield
        finally:
            with self._lock:
                self._bytes -= number_of_bytes
                self._receiving -= 1
                self._look_idle()

    @contextlib.contextmanager
    def admit(self, cost, call):
        """Runs the block when it is this request's turn at the graph.

        Args:
            cost: `Cost`.
            call: `Call`.

        Raises:
            RequestError: `RESOURCE_EXHAUSTED` at once if there is no room; `CANCELLED` or `DEADLINE_EXCEEDED` at the
                moment when the client goes or its deadline passes before the turn. The room is free then.
        """
        self._enter(cost)
        rows = min(max(1, cost.rows), self.limits.rows_running)
        try:
            self._wait_for_turn(rows, call)
            try:
                yield
            finally:
                with self._lock:
                    self._rows -= rows
                    self._call_next()
        finally:
            with self._lock:
                self._predictions -= 1
                self._bytes -= cost.bytes
                self._pixels -= cost.pixels
                self._look_idle()

    def _enter(self, cost):
        limits = self.limits
        if cost.rows > limits.max_rows:
            message = f"{cost.rows} rows in one request, more than the {limits.max_rows} allowed"
            raise resource_exhausted(message, final=True)
        if cost.sentence_bytes > _MOST_SENTENCE_BYTES:
            raise resource_exhausted(
                f"the sentences of the request have {cost.sentence_bytes} bytes, more than the {_MOST_SENTENCE_BYTES} "
                "allowed",
                final=True,
            )
        if cost.pixels > limits.max_pixels:
            raise resource_exhausted(
                f"the photos of the request have {cost.pixels} pixels, counted once for each row asked of them, more "
                f"than the {limits.max_pixels} allowed",
                final=True,
            )
        with self._lock:
            if self._predictions >= limits.max_predictions:
                raise resource_exhausted(
                    f"{self._predictions} predictions are being made, the most that this server allows; try again later"
                )
            if self._pixels + cost.pixels > limits.max_pixels:
                raise resource_exhausted(
                    f"photos of {self._pixels} pixels are in work, of {limits.max_pixels} allowed; try again later"
                )
            self._take_bytes(cost.bytes)
            self._predictions += 1
            self._pixels += cost.pixels
            self.idle.clear()

    def _take_bytes(self, number):
        if self._bytes + number > self.limits.max_bytes:
            raise resource_exhausted(
                f"requests of {self._bytes} bytes are in work and this one needs {number} more, of "
                f"{self.limits.max_bytes} allowed; try again later"
            )
        self._bytes += number

    def _wait_for_turn(self, rows, call):
        """Returns when `rows` more are taken for this request."""
        turn = _Turn(rows)
        with self._lock:
            _check(call)
            self._waiting[turn] = None
            self._call_next()
        if turn.come:
            return
        call.on_cancel(turn.woken.set)
        turn.woken.wait(call.remaining())
        with self._lock:
            if turn.come and not call.cancelled:
                return
            if turn.come:
                self._rows -= rows
            else:
                del self._waiting[turn]
            self._call_next()
        if not call.cancelled:
            raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded while waiting for a free place")
        _check(call)

    def _call_next(self):
        """Gives free rows to those who wait, strictly in order: a large request must not wait for ever."""
        while self._waiting:
            turn = next(iter(self._waiting))
            if self._rows + turn.rows > self.limits.rows_running:
                return
            del self._waiting[turn]
            self._rows += turn.rows
            turn.come = True
            turn.woken.set()

    def _look_idle(self):
        if not self._predictions and not self._receiving:
            self.idle.set()


class _Turn:
    """One request's place in the queue."""

    def __init__(self, rows):
        self.rows = rows
        self.come = False
        self.woken = threading.Event()


def _check(call):
    if call.cancelled:
        raise RequestError(grpc.StatusCode.CANCELLED, "the client has gone")
    if call.remaining() == 0:
        raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded before the request ran")
