"""What every source can do: list its photos without reading them, and read one of them."""

import abc
import dataclasses
import hashlib
import importlib
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from lts_keras.data.schema import DataError
from lts_keras.utils.files import digest

__all__ = ["Entry", "PhotoError", "Source", "open_source", "read_json", "read_source", "size_of_photo"]

_CLASSES = {
    "scenes": "ScenesSource",
    "refer": "ReferSource",
    "coco": "CocoSource",
    "parquet": "ParquetSource",
    "manifest": "ManifestSource",
}


class PhotoError(DataError):
    """One photo cannot be used; the others can.

    Attributes:
        kind: what the report counts it as: `"unreadable_photos"` or `"size_mismatches"`.
    """

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


@dataclasses.dataclass(frozen=True)
class Entry:
    """A photo that a source has, before it is read.

    Attributes:
        key: what `Source.read` takes.
        photo_id: as in `Photo`.
        splits: splits of its objects, after `rename_splits`.
    """

    key: int | str
    photo_id: str
    splits: frozenset


class Source(abc.ABC):
    """Base of all sources; memory holds annotations, never photos or masks.

    Args:
        config: section of `data.sources`.
        root: folder that the paths of the section are relative to.

    Attributes:
        name: name of the data set.
        counts: dict, split as the file names it -> (refs, expressions), before anything is renamed or dropped.
        published_name: `<dataset>/<split by>` of a public data set whose counts are known, or `None`.
    """

    published_name = None

    def __init__(self, config, root):
        self.config, self.root = config, Path(root)
        self.name = config.name
        self.counts = {}

    @property
    def files(self):
        """Annotation files: their content and that of the photos decides the records."""
        return ()

    @abc.abstractmethod
    def entries(self):
        """Returns a list of `Entry` in the order of the source, photos without a referred object left out."""

    @abc.abstractmethod
    def image_bytes(self, key):
        """Returns the original bytes of a photo; raises `PhotoError`."""

    @abc.abstractmethod
    def read(self, key):
        """Returns the `Photo` of an entry; raises `PhotoError`, or `DataError` for a broken annotation."""

    def fingerprint(self, key):
        """Returns (SHA-256 of the photo as hexadecimal text, height, width); raises `PhotoError`."""
        content = self.image_bytes(key)
        height, width = size_of_photo(content, self.place(key))
        return hashlib.sha256(content).hexdigest(), height, width

    def place(self, key):
        """Words that name a photo in an error: its path, if it has one."""
        return f"{self.name}: photo {key}"

    def split(self, split):
        """Name of a split after `rename_splits`; `None` where it is dropped."""
        if not isinstance(split, str) or not split or "/" in split:
            raise DataError(f"{self.name}: the name of a split is text without a slash. Received: {str(split)[:60]!r}")
        renamed = self.config.rename_splits.get(split, self.config.rename_splits.get("*", split))
        return None if renamed == "drop" else renamed

    def read_file(self, path):
        """Bytes of a photo's file; raises `PhotoError` naming it."""
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise PhotoError(
                "unreadable_photos", f"{path}: cannot read the photo: {error.strerror or error}"
            ) from error


def open_source(config, root):
    """Opens the source that a section of `data.sources` describes.

    Raises:
        DataError: an annotation file is missing, damaged or of another layout.
    """
    module = importlib.import_module(f"lts_keras.data.sources.{config.kind}")
    return getattr(module, _CLASSES[config.kind])(config, root)


def read_source(config, root):
    """Yields every `Photo` of a source, in its order.

    Raises:
        DataError: an annotation or a photo cannot be used.
    """
    source = open_source(config, root)
    for entry in source.entries():
        yield source.read(entry.key)


def size_of_photo(content, place):
    """Returns (height, width) of a JPEG or PNG from its header; EXIF orientation is ignored.

    Raises:
        PhotoError: the bytes are no such picture.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as picture:
            return picture.height, picture.width
    except Exception as error:  # Pillow has no common class for damaged headers.
        raise PhotoError("unreadable_photos", f"{place}: not a readable JPEG or PNG ({len(content)} bytes)") from error


def read_json(path, object_hook=None):
    """Reads a JSON file.

    Args:
        path: path of the file.
        object_hook: called with every object of the file; what it returns stands in its place.

    Raises:
        DataError: the file is missing or not JSON; the message names it and the place.
    """
    try:
        with open(path, "rb") as file:
            return json.loads(file.read(), object_hook=object_hook)
    except OSError as error:
        raise DataError(f"{path}: cannot read the file: {error.strerror or error}") from error
    except RecursionError as error:
        raise DataError(f"{path}: not JSON: nested too deep") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {' '.join(str(error).split())}") from error


def box_from_corner(box):
    """Turns COCO's `x, y, width, height` into `(x0, y0, x1, y1)`; raises `ValueError`."""
    x, y, width, height = (float(side) for side in box)
    if not np.all(np.isfinite((x, y, width, height))) or width < 0 or height < 0:
        raise ValueError(f"a box is x, y, width, height. Received: {box!r}")
    return x, y, x + width, y + height


def file_digests(source):
    """SHA-256 of the annotation files, in order."""
    return [digest(path) for path in source.files]
