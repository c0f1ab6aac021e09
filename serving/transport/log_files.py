"""TFRecord files that follow each other: written aside, renamed when full, the oldest removed above a size."""

import contextlib
import errno
import fcntl
import logging
import os
import re
import struct
import time
from pathlib import Path

import tensorflow as tf

__all__ = ["LogFiles"]

FRAME_BYTES = 16
"""What a TFRecord file adds to each record: its length and two checksums."""

logger = logging.getLogger(__name__)


class LogFiles:
    """The files of one prefix, `PREFIX-20261231T235959-000001.tfrecord`; one thread writes.

    A file has its name only when it is complete. One that a killed process left behind is completed at the start: its
    last record is cut off if half of it is missing.

    Args:
        prefix: path, the folder and the beginning of the names; of a folder that is there, `requests` in it. The folder
            is made.
        max_bytes: of all files of this prefix together.
        file_bytes: a file of more is complete; at most a fourth of `max_bytes`.
        file_seconds: so is one that was begun so long ago.

    Raises:
        OSError: if the folder cannot be made or written to.
    """

    def __init__(self, prefix, max_bytes, file_bytes=64 << 20, file_seconds=600.0):
        self.prefix = Path(prefix).absolute()
        if self.prefix.is_dir():
            self.prefix /= "requests"
        self.max_bytes = max_bytes
        self.file_bytes = min(file_bytes, max_bytes // 4)
        self.file_seconds = file_seconds
        self._writer = self._lock = self._partial = None
        self._size, self._due, self._number = 0, None, 0
        self.prefix.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(self.prefix.parent, os.W_OK):
            raise PermissionError(errno.EACCES, "the folder cannot be written to", str(self.prefix.parent))
        self._recover()

    @property
    def due(self):
        """When the file must be completed, by `time.monotonic`; `None` if none is begun."""
        return self._due

    def write(self, record):
        """Appends one record, bytes; raises `OSError`."""
        size = len(record) + FRAME_BYTES
        if size > self.file_bytes:
            raise OSError(f"a record of {size} bytes is more than a file may have, {self.file_bytes}")
        if self._size + size > self.file_bytes:
            self.complete()
        if self._writer is None:
            self._begin()
        try:
            self._writer.write(record)
        except tf.errors.OpError as error:
            self._break_off()
            raise OSError(error.message) from None
        self._size += size

    def flush(self):
        """Hands what was written to the operating system; raises `OSError`."""
        if self._writer is not None:
            try:
                self._writer.flush()
            except tf.errors.OpError as error:
                self._break_off()
                raise OSError(error.message) from None

    def complete(self):
        """Gives the file its name, and removes the oldest ones above `max_bytes`; raises `OSError`."""
        if self._writer is None:
            return
        try:
            self._writer.close()
        except tf.errors.OpError as error:
            self._break_off()
            raise OSError(error.message) from None
        self._finish()
        self._remove_oldest()

    def files(self):
        """Returns the complete files, oldest first."""
        pattern = re.compile(re.escape(self.prefix.name) + r"-\d{8}T\d{6}-\d{6,}\.tfrecord")
        return sorted(path for path in self.prefix.parent.glob("*.tfrecord") if pattern.fullmatch(path.name))

    def _break_off(self):
        """Ends a file in which half of a record may stand, as on a full disk: nothing behind it could be read."""
        with contextlib.suppress(tf.errors.OpError):
            self._writer.close()
        os.ftruncate(self._lock, _whole_bytes(self._lock))
        self._finish()

    def _finish(self):
        lock, partial = self._lock, self._partial
        self._writer = self._lock = self._partial = self._due = None
        self._size = 0
        try:
            _publish(partial)
        finally:
            os.close(lock)

    def _begin(self):
        while self._writer is None:
            self._number += 1
            stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
            name = f"{self.prefix.name}-{stamp}-{self._number:06d}.tfrecord"
            partial = self.prefix.parent / f".{name}.partial"
            try:
                # The lock tells a file that is being written from one that a dead process left.
                lock = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
            except FileExistsError:
                continue
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_at(lock, partial):  # a server that started just then took it for a dead one's
                os.close(lock)
                continue
            if (self.prefix.parent / name).exists():  # of another server with this prefix: ours would replace it
                partial.unlink()
                os.close(lock)
                continue
            self._lock, self._partial, self._due = lock, partial, time.monotonic() + self.file_seconds
            try:
                self._writer = tf.io.TFRecordWriter(str(partial))
            except tf.errors.OpError as error:
                os.close(lock)
                raise OSError(error.message) from None

    def _recover(self):
        for partial in sorted(self.prefix.parent.glob(f".{self.prefix.name}-*.tfrecord.partial")):
            try:
                descriptor = os.open(partial, os.O_RDWR)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(descriptor, partial):  # else it was completed meanwhile
                    os.ftruncate(descriptor, _whole_bytes(descriptor))
                    _publish(partial)
                    logger.info("Completed the request log that a server left: %s", partial.name[1:-8])
            except BlockingIOError:
                pass  # another server writes it
            finally:
                os.close(descriptor)

    def _remove_oldest(self):
        files = []
        for path in self.files():
            with contextlib.suppress(FileNotFoundError):  # another server with this prefix removed it
                files.append((path, path.stat().st_size))
        total = sum(size for _, size in files)
        # Room for the file that comes.
        for path, size in files:
            if total + self.file_bytes <= self.max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size


def _is_at(descriptor, path):
    """Whether an open file still has this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _publish(partial):
    """Gives a file its name without the dot and `.partial`; one without records goes."""
    if partial.stat().st_size:
        os.rename(partial, partial.with_name(partial.name[1 : -len(".partial")]))
    else:
        partial.unlink()


def _whole_bytes(descriptor):
    """How many bytes of a file are whole records."""
    size, position = os.fstat(descriptor).st_size, 0
    while position + FRAME_BYTES <= size:
        (length,) = struct.unpack("<Q", os.pread(descriptor, 8, position))
        if position + length + FRAME_BYTES > size:
            break
        position += length + FRAME_BYTES
    return position
