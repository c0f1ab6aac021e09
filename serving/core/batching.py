"""TensorFlow Serving's batching of requests in front of a model (`--enable_batching`), for any model.

Unlike there, a request that fails does not fail those it was batched with: they are run one by one then.
"""

import collections
import dataclasses
import os
import threading
import time

import grpc
from google.protobuf import text_format

from serving.core.batch_arrays import kind_of, merge, rows_of, split
from serving.errors import RequestError, explain, invalid_argument
from serving.wire.protos import BatchingParameters

__all__ = ["Batcher", "BatchSettings", "batch_settings"]

_OWN_FILE = "batching_params.pbtxt"


@dataclasses.dataclass(frozen=True)
class BatchSettings:
    """`BatchingParameters` with TensorFlow Serving's defaults.

    Attributes:
        max_batch_size: rows of a batch, and the most of one request.
        timeout: seconds that a batch waits for more while a thread is free.
        max_enqueued_batches: of each signature; a request beyond them is refused.
        num_threads: batches that run at a time.
        allowed_batch_sizes: ascending; batches are filled up to one of them. Empty for any.
        pad: whether requests of different sizes are filled up to stand in one batch.
    """

    max_batch_size: int = 1000
    timeout: float = 0.0
    max_enqueued_batches: int = 10
    num_threads: int = 0
    allowed_batch_sizes: tuple[int, ...] = ()
    pad: bool = False

    def __post_init__(self):
        for name in ("max_batch_size", "max_enqueued_batches"):
            if getattr(self, name) < 1:
                raise invalid_argument(f"{name} must be at least 1. Received: {getattr(self, name)}")
        sizes = self.allowed_batch_sizes
        if list(sizes) != sorted(set(sizes)) or any(size < 1 for size in sizes):
            raise invalid_argument("allowed_batch_sizes entries must be monotonically increasing")
        if sizes and sizes[-1] != self.max_batch_size:
            raise invalid_argument(
                f"Last entry in allowed_batch_sizes must match max_batch_size; last entry was {sizes[-1]}; expected "
                f"{self.max_batch_size}"
            )

    @classmethod
    def from_proto(cls, proto):
        """Reads `BatchingParameters`; raises `RequestError` (`INVALID_ARGUMENT`) for those that make no sense."""
        given = {
            name: getattr(proto, name).value
            for name in ("max_batch_size", "max_enqueued_batches")
            if proto.HasField(name)
        }
        return cls(
            timeout=max(0, proto.batch_timeout_micros.value) / 1e6,
            num_threads=max(0, proto.num_batch_threads.value),
            allowed_batch_sizes=tuple(proto.allowed_batch_sizes),
            pad=proto.pad_variable_length_inputs,
            **given,
        )

    def padded(self, rows):
        """Returns how many rows a batch of so many gets."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


def batch_settings(folder, options):
    """The `BatchSettings` of one version; `None` if its requests are not batched.

    Args:
        folder: path of the SavedModel; its own `batching_params.pbtxt` is read if `options` say so.
        options: `ServerOptions`.

    Raises:
        RequestError: `INVALID_ARGUMENT` for parameters that make no sense.
        OSError: for a file that cannot be read.
    """
    if options.batching is None:
        return None
    path = folder / _OWN_FILE
    if not (options.per_model_batching and path.is_file()):
        return BatchSettings.from_proto(options.batching)
    try:
        proto = text_format.Parse(path.read_text(encoding="utf-8"), BatchingParameters())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise invalid_argument(f"{path}: no BatchingParameters: {error}") from None
    return BatchSettings.from_proto(proto)


class Batcher:
    """Collects requests and runs those that fit together as one.

    Args:
        run: callable `(signature name, inputs, outputs, timeout) -> outputs`, as `Servable.run`.
        settings: `BatchSettings`.
    """

    def __init__(self, run, settings):
        self._run = run
        self._settings = settings
        self._queues = {}  # kind -> deque of _Batch; the last may be open
        self._alone = set()  # kinds whose outputs cannot be cut up
        self._closed = False
        self._changed = threading.Condition()
        for _ in range(settings.num_threads or os.cpu_count() or 1):
            threading.Thread(target=self._work, name="model-batch", daemon=True).start()

    def run(self, signature_name, inputs, outputs, timeout=None):
        """As `Servable.run`; the request may share a batch with others.

        Raises:
            RequestError: `INVALID_ARGUMENT` for more rows than a batch may have, `UNAVAILABLE` if too many batches
                wait, `DEADLINE_EXCEEDED` if its turn does not come within `timeout`.
        """
        rows = rows_of(inputs)
        kind = rows and (signature_name, tuple(outputs), kind_of(inputs, self._settings.pad))
        if not kind or kind in self._alone:
            return self._run(signature_name, inputs, outputs, timeout)
        if rows > self._settings.max_batch_size:
            raise invalid_argument(
                f"Task size {rows} is larger than maximum input batch size {self._settings.max_batch_size}"
            )
        task = _Task(inputs, rows, None if timeout is None else time.monotonic() + timeout)
        self._enqueue(kind, task)
        if not task.done.wait(timeout):
            task.abandoned = True
            message = "Run() timeout exceeded while waiting in batching queue"
            raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, message)
        if task.error is not None:
            raise task.error
        return task.outputs

    def close(self):
        """Ends the threads. Nobody may wait for an answer then."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _enqueue(self, kind, task):
        with self._changed:
            queue = self._queues.setdefault(kind, collections.deque())
            if not queue or queue[-1].rows + task.rows > self._settings.max_batch_size:
                if len(queue) >= self._settings.max_enqueued_batches:
                    message = "The batch scheduling queue to which this task was submitted is full"
                    raise RequestError(grpc.StatusCode.UNAVAILABLE, message)
                queue.append(_Batch(time.monotonic() + self._settings.timeout))
            queue[-1].add(task)
            self._changed.notify()

    def _work(self):
        while True:
            with self._changed:
                while True:
                    if self._closed:
                        return
                    kind, pause = self._next()
                    if kind is not None:
                        break
                    self._changed.wait(pause)
                queue = self._queues[kind]
                batch = queue.popleft()
                if not queue:
                    del self._queues[kind]
            self._answer(kind, [task for task in batch.tasks if not task.abandoned])

    def _next(self):
        """The kind whose first batch has waited longest of those that should run, or how long to wait for one."""
        now, best, due, pause = time.monotonic(), None, 0.0, None
        for kind, queue in self._queues.items():
            first = queue[0]
            left = first.due - now
            if left <= 0 or len(queue) > 1 or first.rows >= self._settings.max_batch_size:
                if best is None or first.due < due:
                    best, due = kind, first.due
            elif pause is None or left < pause:
                pause = left
        return best, pause

    def _answer(self, kind, tasks):
        signature_name, outputs, _ = kind
        results = None
        if len(tasks) > 1 or (tasks and self._settings.allowed_batch_sizes):
            counts = [task.rows for task in tasks]
            size = self._settings.padded(sum(counts))
            try:
                merged = merge([task.inputs for task in tasks], size)
                if merged is not None:
                    results = split(self._run(signature_name, merged, outputs, _longest(tasks)), counts, size)
                    if results is None:
                        self._alone.add(kind)
            except Exception as error:
                if len(tasks) == 1:
                    tasks[0].finish(error=error)
                    return
        if results is not None:
            for task, result in zip(tasks, results, strict=True):
                task.finish(result)
            return
        # One of them spoils it for all, or they cannot be told apart: each is answered for itself.
        for task in tasks:
            try:
                task.finish(self._run(signature_name, task.inputs, outputs, task.remaining()))
            except Exception as error:
                task.finish(error=error)


class _Batch:
    def __init__(self, due):
        self.due = due
        self.rows = 0
        self.tasks = []

    def add(self, task):
        self.tasks.append(task)
        self.rows += task.rows


class _Task:
    """One request that waits for its answer."""

    def __init__(self, inputs, rows, deadline):
        self.inputs, self.rows, self.deadline = inputs, rows, deadline
        self.outputs = self.error = None
        self.abandoned = False
        self.done = threading.Event()

    def remaining(self):
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def finish(self, outputs=None, error=None):
        if error is not None:
            # The same exception must not be raised in two threads: each adds its own call stack to it.
            error = RequestError(*explain(error))
        self.outputs, self.error = outputs, error
        self.done.set()


def _longest(tasks):
    """The seconds after which nobody waits any more; `None` if somebody waits for ever."""
    left = [task.remaining() for task in tasks]
    return None if None in left else max(left)
