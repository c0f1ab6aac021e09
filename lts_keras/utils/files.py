"""Files that appear whole or not at all: written aside under another name, then renamed."""

import contextlib
import hashlib
import os
import shutil
import uuid
from pathlib import Path

__all__ = ["atomic_folder", "atomic_write", "digest", "replace_folder"]


def atomic_write(path, content):
    """Writes a file aside and renames it onto `path`, so that a kill never leaves half of it.

    Args:
        path: path of the file; its folder is made if need be. A file that is there is replaced.
        content: `bytes`, or `str` (written as UTF-8).

    Returns:
        `path` as a `Path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path)
    try:
        aside.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return path


@contextlib.contextmanager
def atomic_folder(path):
    """Gives an empty folder beside `path` that is renamed onto `path` when the block ends without an error.

    A folder that is there is replaced; with an error it stays as it was and the new one is removed.

    Args:
        path: path of the folder.

    Yields:
        `Path` of the folder to fill.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path)
    aside.mkdir()
    try:
        yield aside
        replace_folder(aside, path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def replace_folder(source, path):
    """Renames folder `source` onto `path`; what was there is removed afterwards.

    Two runs that end at the same moment both succeed; the later one stays.
    """
    old = _aside(path)
    while True:
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, old)
        try:
            os.rename(source, path)
            break
        except OSError:
            # The other run's folder came between the two renames.
            if not Path(path).exists():
                raise
            shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def digest(path):
    """Returns the SHA-256 of a file as hexadecimal text."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _aside(path):
    """A name in the same folder (a rename stays within one file system) that no other run has."""
    path = Path(path)
    return path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}")
