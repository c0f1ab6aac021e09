"""What was found in files, kept by their size and time: what has not changed is not read again."""

import json
import os
import time
from pathlib import Path

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
        self._old, self._new = {}, {}
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            if content["version"] == _VERSION and isinstance(content["files"], dict):
                self._old = content["files"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pass  # Nothing is remembered then: every file is read.

    def digest(self, path):
        """SHA-256 of a file as hexadecimal text; raises `OSError`."""
        return self._find(path, "file", lambda: [digest(path)])[0]

    def photo(self, source, key):
        """`Fingerprint` of a photo of a source; raises `PhotoError`."""
        origin = source.origin(key)
        if origin is None:
            return source.fingerprint(key)
        path, part = origin
        return Fingerprint(*self._find(path, f"photo {part}", lambda: source.fingerprint(key)))

    def save(self):
        """Writes what this run used; files that it did not look at are forgotten."""
        content = {"version": _VERSION, "files": self._new}
        atomic_write(self._path, json.dumps(content, separators=(",", ":")) + "\n")

    def _find(self, path, what, read):
        name = f"{os.path.abspath(path)}\n{what}"
        if name in self._new:
            return self._new[name][1]
        try:
            state = os.stat(path)
        except (OSError, ValueError):
            return read()  # Raises what is to be said about it.
        stamp = [state.st_size, state.st_mtime_ns]
        old = self._old.get(name)
        if not self._verify and old and old[0] == stamp:
            self._new[name] = old
            return old[1]
        taken = time.time_ns()
        found = list(read())
        if state.st_mtime_ns < taken - _GRAIN:
            self._new[name] = [stamp, found]
        return found
