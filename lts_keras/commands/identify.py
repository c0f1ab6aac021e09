"""What a file or folder is, told by its content; names decide nothing, and nothing slow is imported."""

import os
import struct
import zipfile
from pathlib import Path

from lts_keras.commands.errors import InspectError

__all__ = ["KINDS", "identify"]

KINDS = {
    "darknet": "a Darknet weights file",
    "glove": "a GloVe text file",
    "preset": "a preset folder",
    "saved_model": "a SavedModel folder",
    "onnx": "an ONNX file",
    "keras": "a .keras file",
    "data": "prepared data",
}
_MARKS = {"preset": ("model.json", "model.weights.h5"), "saved_model": ("saved_model.pb",), "data": ("manifest.json",)}
_HEAD = 1 << 16
_MIN_NUMBERS = 2
# Fields of ONNX's ModelProto: number -> wire type (0 a number, 2 bytes). 1 is the IR version, 7 the graph.
_ONNX_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_LATEST_IR = 32


def identify(path):
    """Tells what lies at a path.

    Args:
        path: path of a file or folder.

    Returns:
        `(kind, path)`: a key of `KINDS`, and the path to read, which for a work directory is its `data` folder. A file
        that is cut short or damaged is still told by its beginning; reading it says what is wrong.

    Raises:
        InspectError: nothing lies there, it cannot be read, or it is nothing of all that.
    """
    path = Path(path)
    try:
        found = _folder(path) if path.is_dir() else _file(path)
    except OSError as error:
        raise InspectError(f"{path}: cannot be read: {error.strerror or error}") from error
    if found:
        return found
    raise InspectError(f"{path}: {_content(path)}, and not {', '.join(list(KINDS.values())[:-1])} or {KINDS['data']}")


def _folder(path):
    for kind, names in _MARKS.items():
        if any((path / name).is_file() for name in names):
            return kind, path
    if (path / "data" / "manifest.json").is_file():
        return "data", path / "data"
    versions = sorted((int(one.name) for one in path.iterdir() if one.name.isdigit() and _is_served(one)), reverse=True)
    if versions:
        raise InspectError(
            f"{path}: holds versions of a served model; name one of them, the newest is {path / str(versions[0])}"
        )
    return None


def _is_served(path):
    return (path / "saved_model.pb").is_file()


def _file(path):
    if path.exists() and not path.is_file():
        raise InspectError(f"{path}: neither a file nor a folder")
    with path.open("rb") as file:
        head = file.read(_HEAD)
        if head[:4] == b"PK\x03\x04":
            return ("keras", path) if _is_keras(path) else None
        if _is_onnx(file):
            return "onnx", path
    if _is_darknet(head):
        return "darknet", path
    return ("glove", path) if _is_glove(head) else None


def _is_keras(path):
    """A zip archive with Keras' members, or one that is cut: then its first member's name must tell."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return {"metadata.json", "config.json"} <= set(archive.namelist())
    with path.open("rb") as file:
        return file.read(64)[30:].startswith((b"metadata.json", b"config.json"))


def _is_darknet(head):
    """Three counts, of a version that was ever written. Text would make numbers beyond all bounds."""
    if len(head) < 12:
        return False
    major, minor, revision = struct.unpack("<3i", head[:12])
    return 0 <= major < 10 and 0 <= minor < 100 and 0 <= revision < 10000 and major + minor > 0


def _is_glove(head):
    """Text of which most lines are a word and numbers."""
    if b"\0" in head:
        return False
    lines = head.split(b"\n")
    # The last one may be cut by the end of what was read.
    lines = [line.rstrip() for line in (lines[:-1] if len(lines) > 1 else lines)][:20]
    if len(lines) > 1 and len(lines[0].split(b" ")) == 2:
        lines = lines[1:]  # word2vec's counts
    fitting = sum(_is_vector(line) for line in lines)
    return fitting > 0 and 2 * fitting >= len(lines)


def _is_vector(line):
    numbers = line.split(b" ")[1:]
    if len(numbers) < _MIN_NUMBERS:
        return False
    try:
        return all(len(number) < 40 and float(number) is not None for number in numbers[-_MIN_NUMBERS:])
    except ValueError:
        return False


def _is_onnx(file):
    """Walks the fields of the outermost message, passing over what they hold; a cut file ends inside one of them."""
    file.seek(0)
    end, seen = os.fstat(file.fileno()).st_size, set()
    while file.tell() < end:
        key = _varint(file)
        number, wire = (key or 0) >> 3, (key or 0) & 7
        value = _varint(file)
        if value is None or _ONNX_FIELDS.get(number) != wire or (not seen and number != 1):
            return False
        if number == 1 and not 3 <= value <= _LATEST_IR:
            return False
        seen.add(number)
        if wire == 2:
            file.seek(value, os.SEEK_CUR)
    return 7 in seen


def _varint(file):
    value = 0
    for shift in range(0, 64, 7):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    return None


def _content(path):
    """What can be said of something unknown."""
    if path.is_dir():
        return "a folder with nothing in it" if not any(path.iterdir()) else "a folder of other things"
    size = path.stat().st_size
    if not size:
        return "an empty file"
    inside = next((kind for kind, names in _MARKS.items() if path.name in names), None)
    if inside:
        return f"part of {KINDS[inside]} (give the folder {path.parent})"
    with path.open("rb") as file:
        text = b"\0" not in file.read(_HEAD)
    return f"{'a text' if text else 'a binary'} file of {size:,} bytes"
