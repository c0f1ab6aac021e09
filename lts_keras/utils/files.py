"""Files that appear whole or not at all: written aside under another name, on the disk, then renamed."""

import contextlib
import ctypes
import hashlib
import os
import re
import shutil
import uuid
from pathlib import Path

__all__ = ["atomic_folder", "atomic_write", "digest", "replace_folder", "sweep"]

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_ASIDE = re.compile(r"\.(?P<name>.+)\.(?P<kind>new|old)-\d+-[0-9a-f]{8}")


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
    aside = _aside(path, "new")
    try:
        with open(aside, "wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
        _sync_folder(path.parent)
    finally:
        aside.unlink(missing_ok=True)
    return path


@contextlib.contextmanager
def atomic_folder(path):
    """Gives an empty folder beside `path` that is renamed onto `path` when the block ends without an error.

    A folder that is there is replaced; with an error it stays as it was and the new one is removed. What a killed
    process leaves, `sweep` removes.

    Args:
        path: path of the folder.

    Yields:
        `Path` of the folder to fill.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path, "new")
    aside.mkdir()
    try:
        yield aside
        replace_folder(aside, path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def replace_folder(source, path):
    """Renames folder `source` onto `path`; what was there is removed afterwards.

    The two change places in one step where the file system can do that, so that `path` is there at every moment; else
    `sweep` brings the old one back after a kill between two steps. Two runs that end at the same moment both succeed;
    the later one stays.

    Args:
        source: path of a folder, on the same file system.
        path: path that it gets.
    """
    source, path = Path(source), Path(path)
    _sync_tree(source)
    old = _aside(path, "old")
    while True:
        try:
            os.rename(source, path)  # onto nothing, or onto an empty folder
            break
        except OSError:
            if not path.is_dir():
                raise
        if _exchange(source, path):
            os.rename(source, old)
            break
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, old)
        try:
            os.rename(source, path)
            break
        except OSError:
            # The other run's folder came between the two renames.
            if not path.exists():
                raise
            shutil.rmtree(old, ignore_errors=True)
    _sync_folder(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def sweep(folder):
    """Removes what killed processes left aside in a folder, and brings back a folder whose replacing was cut off.

    Only where no other process writes: whoever holds the lock of the work directory may.

    Args:
        folder: path; nothing happens where it is not there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        found = _ASIDE.fullmatch(path.name)
        if not found:
            continue
        if found["kind"] == "old" and not (folder / found["name"]).exists():
            os.rename(path, folder / found["name"])
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def digest(path):
    """Returns the SHA-256 of a file as hexadecimal text."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _aside(path, kind):
    """A name in the same folder (a rename stays within one file system) that no other run has."""
    path = Path(path)
    return path.with_name(f".{path.name}.{kind}-{os.getpid()}-{uuid.uuid4().hex[:8]}")


def _exchange(one, other):
    """Lets two paths change names in one step; whether this system and file system can."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    return rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0


def _sync_tree(folder):
    """Brings a folder's content to the disk: a rename may else arrive there before what it names."""
    for root, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(root, name), "rb") as file:
                os.fsync(file.fileno())
        _sync_folder(root)


def _sync_folder(folder):
    with contextlib.suppress(OSError):  # Some network file systems have no such call for folders.
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
