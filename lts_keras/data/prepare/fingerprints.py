"""What was found in files, kept by their size and time: what has not changed is not read again."""

import json
import os
import time
from pathlib import Path

from lts_keras.data.schema import DataError
from lts_keras.data.sources import Fingerprint
from lts_keras.utils.files import atomic_write, digest

__all__ = ["Fingerprints"]

_VERSION = 1
_GRAIN = 2 * 10**9
"""Nanoseconds: a file that changes within the grain of its file system's clock keeps its time."""


class Fingerprints:
    """Digests of files and fingerprints of photos, remembered in one file of the work directory.

    Args:
        path: path of the file; what it holds is taken where a file's size and time are the remembered ones.
        verify: whether every file is read, remembered or not.
    """

    def __init__(self, path, verify=False):
        self._path, self._verify = Path(path), verify
        self._old, self._new, self._outcome = {}, {}, None
        # What changes while this run reads it must not pass for what was read.
        self._trusted_until = time.time_ns() - _GRAIN
        self._complete = True
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            if content["version"] == _VERSION and isinstance(content["files"], dict):
                self._old, self._outcome = content["files"], content["outcome"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pass  # Nothing is remembered then: every file is read.

    def digest(self, path):
        """SHA-256 of a file as hexadecimal text; raises `DataError` where it cannot be read."""
        try:
            return self._find(path, "file", lambda: [digest(path)])[0]
        except OSError as error:
            raise DataError(f"{path}: cannot read the file: {error.strerror or error}") from error

    def digest_of_output(self, path):
        """As `digest`, for a file that the run itself writes: it does not decide the outcome."""
        complete = self._complete
        try:
            return self.digest(path)
        finally:
            self._complete = complete

    def photo(self, source, key):
        """`Fingerprint` of a photo of a source; raises `PhotoError`."""
        origin = source.origin(key)
        if origin is None:
            return source.fingerprint(key)
        path, part = origin
        return Fingerprint(*self._find(path, f"photo {part}", lambda: source.fingerprint(key)))

    def outcome(self, key):
        """What `save` was given with the same key, if every file that the run looked at is as it was; else `None`."""
        if self._verify or not self._outcome or self._outcome[0] != key:
            return None
        for name, (stamp, _) in self._old.items():
            try:
                if _stamp(name.partition("\n")[0]) != stamp:
                    return None
            except (OSError, ValueError):
                return None
        self._new = dict(self._old)
        return self._outcome[1]

    def save(self, key=None, outcome=None):
        """Writes what this run used; files that it did not look at are forgotten.

        Args:
            key: text that stands for all that decides the outcome but the files.
            outcome: what the run came to, as a plain value; not kept where a file is too new to be known by its time.
        """
        kept = [key, outcome] if key is not None and self._complete else None
        content = {"version": _VERSION, "outcome": kept, "files": self._new}
        atomic_write(self._path, json.dumps(content, separators=(",", ":")) + "\n")

    def _find(self, path, what, read):
        name = f"{os.path.abspath(path)}\n{what}"
        if name in self._new:
            return self._new[name][1]
        try:
            stamp = _stamp(path)
        except (OSError, ValueError):
            self._complete = False
            return read()  # Raises what is to be said about it.
        old = self._old.get(name)
        if not self._verify and old and old[0] == stamp:
            self._new[name] = old
            return old[1]
        if stamp[1] >= self._trusted_until:
            self._complete = False
            return list(read())
        try:
            self._new[name] = [stamp, list(read())]
        except Exception:
            self._complete = False
            raise
        return self._new[name][1]


def _stamp(path):
    state = os.stat(path)
    return [state.st_size, state.st_mtime_ns]
