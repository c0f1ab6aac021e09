"""What a version is: a folder in a model's base path whose name is a number. All of the project asks here."""

import contextlib
import dataclasses
import os
import stat
from pathlib import Path

__all__ = ["GRAPH_FILES", "Listing", "companions_of", "identity_of", "list_versions", "look", "version_of"]

GRAPH_FILES = ("saved_model.pb", "saved_model.pbtxt")
"""A SavedModel's graph; the second is its form as text."""

_LARGEST = 2**63 - 1
_MOST_REASONS = 20


@dataclasses.dataclass(frozen=True)
class Listing:
    """A model's folder at one moment.

    Attributes:
        versions: dict from version to the path of its folder.
        passed_over: pairs of a path (str) and the reason (str) why nothing is served from it, for what somebody may
            have meant to be served.
    """

    versions: dict[int, Path]
    passed_over: tuple[tuple[str, str], ...]


def version_of(name):
    """The version that a folder's name says: digits alone, zeros in front allowed, within int64; else `None`."""
    if not (name.isascii() and name.isdigit()):
        return None
    version = int(name)
    return version if version <= _LARGEST else None


def list_versions(base_path):
    """Returns a dict from version to the path of its folder, ascending; raises OSError for an unreadable folder."""
    return look(base_path).versions


def look(base_path):
    """Looks into a model's folder once.

    A version is any entry named by a number that is no file, as TensorFlow Serving has it; whether it loads is found
    out by loading it. Of two names for one number (`1` and `01`), the last in the order of their bytes counts.

    Args:
        base_path: path of the folder.

    Returns:
        `Listing`.

    Raises:
        OSError: if the folder cannot be read: then nothing is known about its versions.
    """
    base_path = Path(base_path)
    versions, passed_over = {}, []
    with os.scandir(base_path) as entries:
        entries = sorted(entries, key=lambda entry: entry.name)
    if any(entry.name in GRAPH_FILES for entry in entries):
        reason = "it is a version's own folder, for it holds a graph; the base path is the folder above it"
        passed_over.append((str(base_path), reason))
    for entry in entries:
        version = version_of(entry.name)
        if version is None:
            reason = _why_no_version(entry, base_path)
            if reason:
                passed_over.append((entry.path, reason))
        elif _is_file(entry):
            passed_over.append((entry.path, "it is a file; a version is a folder"))
        else:
            if version in versions:
                passed_over.append((str(versions[version]), f"{entry.name} is the same version and is taken"))
            versions[version] = base_path / entry.name
    if not versions and not passed_over:
        passed_over.append((str(base_path), "it holds no version: a folder named by a number, such as 1"))
    return Listing(dict(sorted(versions.items())), tuple(passed_over[:_MOST_REASONS]))


def identity_of(folder):
    """What changes when a version's folder is replaced or completed.

    Args:
        folder: path of a SavedModel.

    Returns:
        A tuple: the folder's path, then name, inode, size and time of each file that a load reads. Warm-up requests and
        what else lies in `assets.extra` do not count.

    Raises:
        OSError: if a file is there and cannot be looked at.
    """
    folder = Path(folder)
    files = [folder / name for name in GRAPH_FILES]
    for part in ("variables", "assets"):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            files.extend(sorted((folder / part).iterdir()))
    found = [str(folder)]
    for path in files:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            status = path.stat()
            found.append((str(path.relative_to(folder)), status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)


def companions_of(folder):
    """What changes when what lies beside a version's graph is mended: warm-up requests, parameters of batching.

    A version that is loaded stays when they change; one that did not load may have failed by them.

    Args:
        folder: path of a SavedModel.

    Returns:
        A tuple: name, inode, size and time of each file.
    """
    found = []
    for part in (Path(folder), Path(folder) / "assets.extra"):
        with contextlib.suppress(OSError):  # whether they can be read is found out by loading
            for path in sorted(part.iterdir()):
                status = path.stat()
                if stat.S_ISREG(status.st_mode):
                    found.append((path.name, status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)


def _is_file(entry):
    """Whether an entry is known to be a file: of one that cannot be looked at, the load says what is wrong with it."""
    try:
        return entry.is_file()
    except OSError:
        return False


def _why_no_version(entry, base_path):
    """Why an entry that is no version is none, if it looks as if it were meant to be one."""
    if entry.name.startswith("."):  # written aside, or an editor's
        return None
    try:
        if not entry.is_dir():
            return None
        if entry.name.isascii() and entry.name.isdigit():
            return f"versions end at {_LARGEST}"
        inside = os.listdir(entry.path)
        if any(name in GRAPH_FILES for name in inside):
            return f"its name is no number; a version's folder is named by its number alone, such as {base_path / '1'}"
        numbers = [name for name in inside if version_of(name) is not None]
        if any(_holds_graph(os.path.join(entry.path, name)) for name in numbers[-3:]):
            return f"it holds versions itself; if it is the model, the base path is {entry.path} and not {base_path}"
    except OSError:  # nothing that is served depends on it
        return None
    return None


def _holds_graph(folder):
    return any(os.path.exists(os.path.join(folder, name)) for name in GRAPH_FILES)
