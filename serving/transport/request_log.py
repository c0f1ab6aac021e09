"""Writes a sample of the answered requests down as TFRecord files of `PredictionLog`s, as TensorFlow Serving does.

They are what drift is looked for in, and, with their photos, requests to warm a version up with.
"""

import collections
import dataclasses
import logging
import random
import threading
import time

import grpc

from serving.core.events import RequestEnded
from serving.errors import StartError
from serving.options import RequestLogSettings
from serving.transport.log_files import LogFiles
from serving.transport.log_records import make_record

__all__ = ["RequestLog"]

QUEUE_RECORDS = 256
QUEUE_BYTES = 64 << 20

logger = logging.getLogger(__name__)


class RequestLog:
    """Listens to `RequestEnded`; a thread of its own writes. No answer ever waits for it: what finds the queue full is
    left out and counted.

    Args:
        settings: `RequestLogSettings`: prefix of the files, sampling rate, whether photos are kept, size of all files.
            `None`: only models that say so themselves are logged, without photos.
        models: callable, model name to its `ModelSettings` or `None`. One with a sampling rate of its own goes by that,
            and by its own prefix if it has one.
        file_seconds: float, after which a file is completed though it has room.

    Attributes:
        written: int, records in files.
        dropped: int, records for which the queue had no room.
        failed: int, records that could not be written.
    """

    def __init__(self, settings, models=lambda name: None, file_seconds=600.0):
        self._settings = settings or RequestLogSettings(path=None)
        self._models = models
        self._file_seconds = file_seconds
        self._random = random.Random()
        self._queue, self._queued_bytes = collections.deque(), 0
        self._changed = threading.Condition()
        self._files, self._stopped, self._idle, self._well = {}, False, True, True
        self.written = self.dropped = self.failed = 0
        self._thread = threading.Thread(target=self._run, name="request log", daemon=True)

    def start(self):
        """Completes what an earlier server left, and begins to write.

        Returns:
            The log itself.

        Raises:
            StartError: if the folder cannot be written to.
        """
        if self._settings.path is not None:
            try:
                self._of_prefix(self._settings.path)
            except OSError as error:
                path = self._settings.path
                raise StartError(f"{path}: cannot write the request log: {error.strerror or error}") from None
        self._thread.start()
        return self

    def __call__(self, event):
        """Takes one event."""
        if not isinstance(event, RequestEnded) or event.code != grpc.StatusCode.OK or event.request is None:
            return
        prefix, rate = self._choose(event.model)
        if prefix is None or self._random.random() >= rate:
            return
        if callable(event.request):
            request, response = event.request()
            event = dataclasses.replace(event, request=request, response=response)
        size = event.request.ByteSize() + (event.response.ByteSize() if event.response is not None else 0)
        with self._changed:
            full = len(self._queue) >= QUEUE_RECORDS or self._queued_bytes + size > QUEUE_BYTES
            if full or self._stopped:
                self.dropped += 1
                return
            self._queue.append((event, prefix, rate, size))
            self._queued_bytes += size
            self._changed.notify_all()

    def flush(self, timeout=10.0):
        """Waits until all that was taken so far is in files.

        Returns:
            bool, whether it is.
        """
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and self._idle, timeout)

    def stop(self, timeout=10.0):
        """Writes what is queued, completes the files and ends the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _choose(self, model):
        """Prefix and sampling rate for a model; `(None, 0)` for no log."""
        prefix, rate = self._settings.path, self._settings.sampling_rate
        own = self._models(model)
        if own is not None and own.log_sampling_rate is not None:
            prefix, rate = own.log_prefix or prefix, own.log_sampling_rate
        return (prefix, rate) if prefix is not None else (None, 0.0)

    def _of_prefix(self, prefix):
        prefix = str(prefix)
        if prefix not in self._files:
            self._files[prefix] = LogFiles(prefix, self._settings.max_bytes, file_seconds=self._file_seconds)
        return self._files[prefix]

    def _run(self):
        while True:
            with self._changed:
                due = [files.due for files in self._files.values() if files.due is not None]
                patience = max(0.0, min(due) - time.monotonic()) if due else None
                if not self._queue:
                    self._idle = True
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._queue or self._stopped, patience)
                taken, self._idle = self._queue.popleft() if self._queue else None, False
                if taken is not None:
                    self._queued_bytes -= taken[3]
                elif self._stopped:
                    break
                last = not self._queue
            if taken is not None:
                self._attempt(self._write, *taken[:3])
            for files in self._files.values():
                if files.due is not None and files.due <= time.monotonic():
                    self._attempt(files.complete)
                elif last:
                    self._attempt(files.flush)
        for files in self._files.values():
            self._attempt(files.complete)
        with self._changed:
            self._idle = True
            self._changed.notify_all()

    def _write(self, event, prefix, rate):
        try:
            record = make_record(event, self._settings.photos, rate)
            if record is not None:
                self._of_prefix(prefix).write(record.SerializeToString())
                self.written += 1
        except Exception:
            self.failed += 1
            raise

    def _attempt(self, function, *arguments):
        """Calls it; a failure is told once, until something succeeds again."""
        try:
            function(*arguments)
            self._well = True
        except Exception as error:  # a full disk or an odd request must not end the log
            if self._well:
                logger.warning("The request log cannot be written: %s: %s", type(error).__name__, error)
            self._well = False
