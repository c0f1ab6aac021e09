"""What every source can do: list its photos without reading them, and read one of them."""

import abc
import dataclasses
import hashlib
import io
import os
import unicodedata
import warnings
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from lts_keras.config.data_schema import HELD_OUT_OF
from lts_keras.data.left_out import LeftOut
from lts_keras.data.orientation import read_orientation, upright_size
from lts_keras.data.schema import DataError
from lts_keras.data.sources.fields import short

__all__ = [
    "Entry",
    "Fingerprint",
    "Frame",
    "PhotoError",
    "Source",
    "describe_photo",
]

_LONGEST_SPLIT = 100


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
        num_objects: its referred objects in those splits.
        coco_id: its number in COCO, where the source says that it is one of COCO's photos; else `None`.
    """

    key: int | str
    photo_id: str
    splits: frozenset
    num_objects: int
    coco_id: int | str | None = None


class Fingerprint(NamedTuple):
    """What a photo's bytes say: SHA-256 as hexadecimal text, stored height and width, EXIF orientation 1..8."""

    digest: str
    height: int
    width: int
    orientation: int


class Frame(NamedTuple):
    """The pixels that annotations are in: height, width, the turn applied, whether a size decided on it."""

    height: int
    width: int
    orientation: int
    by_size: bool = False


class Source(abc.ABC):
    """Base of all sources; memory holds annotations, never photos or masks.

    Args:
        config: section of `data.sources`.
        root: folder that the paths of the section are relative to.

    Attributes:
        name: name of the data set.
        counts: dict, split as the file names it -> (refs, expressions), before anything is renamed or dropped.
        published_name: `<dataset>/<split by>` of a public data set whose counts are known, or `None`.
        num_objects: referred objects in its files, those that are left out included; `None` where they are not known
            before the photos are read.
        left_out: `LeftOut`, of the objects that never come to an entry.
        ref_prefix: stands before every ref id, so that ids of two files under one name stay apart.
    """

    published_name = None
    ref_prefix = ""

    def __init__(self, config, root):
        self.config, self.root = config, Path(root)
        self.name = config.name
        self.counts = {}
        self.num_objects, self.left_out = 0, LeftOut()

    @property
    def files(self):
        """Annotation files: their content and that of the photos decides the records."""
        return ()

    @property
    def ref_space(self):
        """What tells ref ids of this source from equal ones of another source of the same name."""
        return ""

    @property
    def is_coco(self):
        """Whether the photos are COCO's own: ids are then COCO's numbers, and annotations lie in the stored pixels."""
        return False

    @property
    def said(self):
        """Lines on what was established while the source was opened."""
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

    @abc.abstractmethod
    def object_digests(self, key, digest):
        """What decides the objects of a photo, pixels apart.

        Args:
            key: of an entry.
            digest: function that gives the SHA-256 of a file, for masks in files of their own.

        Returns:
            Dict, split -> hexadecimal digest.
        """

    def annotated(self, key):
        """Tuple of (category, box) of the single objects on a photo, where `object_digests` does not tell them all."""
        return ()

    def origin(self, key):
        """(path of the file that holds the photo's bytes, which part of it: "" for all), or `None` for drawn ones."""
        return None

    def fingerprint(self, key):
        """Returns the photo's `Fingerprint`; raises `PhotoError`."""
        content = self.image_bytes(key)
        return Fingerprint(hashlib.sha256(content).hexdigest(), *describe_photo(content, self.place(key)))

    def annotated_sizes(self, key, orientation):
        """Set of (height, width) that the annotations of a photo with an EXIF code name; may be empty."""
        return set()

    def frame(self, key, height, width, orientation):
        """Which pixels the annotations of a photo are in.

        Args:
            key: of an entry.
            height, width: size of the stored pixels.
            orientation: the photo's EXIF code.

        Returns:
            `Frame`: the upright photo, or the stored one for COCO's own photos and where the source says `stored`. A
            size in the annotations that fits the other frame alone decides against that, unless the source says which.

        Raises:
            PhotoError: the annotations are for a photo of another size.
        """
        sizes, said = self.annotated_sizes(key, orientation), getattr(self.config, "orientation", None)
        first = orientation if (said or ("stored" if self.is_coco else "upright")) == "upright" else 1
        for code in (first,) if said else (first, 1, orientation):
            size = upright_size(height, width, code)
            if sizes <= {size}:
                return Frame(*size, code, code != first)
        found = upright_size(height, width, first)
        wanted = ", ".join(f"{size[1]} x {size[0]}" for size in sorted(sizes))
        turned = f" (with the EXIF orientation {orientation})" if first != 1 else ""
        raise PhotoError(
            "size_mismatches",
            f"{self.place(key)}: the annotations are for {wanted} pixels. Received: {found[1]} x {found[0]}{turned}",
        )

    def place(self, key):
        """Words that name a photo in an error: its path, if it has one."""
        return f"{self.name}: photo {key}"

    def split(self, split, where=None, photo=None):
        """Name of a split after `rename_splits` and `hold_out`.

        Args:
            split: str, as the file names it.
            where: where it stands, for an error.
            photo: id of the photo, the same in every file of photos of one origin; decides on `hold_out`.

        Returns:
            str; `None` where the split is dropped.
        """
        renames = self.config.rename_splits
        renamed = renames.get(split, renames.get("*", split))
        for name, place in ((split, where or self.name), (renamed, f"data.sources of {self.name}: rename_splits")):
            wrong = not name or "/" in name or name != name.strip() or not name.isprintable()
            if wrong or len(name) > _LONGEST_SPLIT:
                raise DataError(
                    f"{place}: the name of a split is one line of at most {_LONGEST_SPLIT} characters, without a "
                    f"slash, and without blanks at its ends. Received: {short(name)}"
                )
        if renamed == HELD_OUT_OF and photo is not None:
            renamed = _put_aside(str(photo), self.config.hold_out) or renamed
        return None if renamed == "drop" else renamed

    def relative(self, path):
        """A path as it is written from the root on, with slashes, wherever the root lies."""
        path, root = Path(os.path.normpath(path)), Path(os.path.normpath(self.root))
        return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()

    def read_file(self, path):
        """Bytes of a photo's file; raises `PhotoError` naming it."""
        try:
            return Path(path).read_bytes()
        except (OSError, ValueError) as error:
            reason = f"{getattr(error, 'strerror', None) or error}{_other_form(path)}"
            raise PhotoError("unreadable_photos", f"{path}: cannot read the photo: {reason}") from error


def _put_aside(photo, shares):
    """The split of `hold_out` that a photo belongs to, by the digest of its id: as fixed as the id; or `None`."""
    place, reach = int(hashlib.sha256(f"hold out {photo}".encode()).hexdigest(), 16) / 2**256, 0.0
    for split, share in shares.items():
        reach += share
        if place < reach:
            return split
    return None


def _other_form(path):
    """Words on a file whose name has the same letters in another form: macOS writes "é" as two characters."""
    for form in ("NFC", "NFD"):
        other = unicodedata.normalize(form, str(path))
        if other != str(path) and "\0" not in other and os.path.exists(other):
            return f"; there is {ascii(os.path.basename(other))}, the same letters as other characters"
    return ""


def describe_photo(content, place):
    """Returns (height, width, EXIF orientation) of a JPEG or PNG from its header: the stored pixels, and their turn.

    Raises:
        PhotoError: the bytes are no such picture.
    """
    try:
        with warnings.catch_warnings():
            # Nothing is decoded here, however large it is.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(content), formats=("JPEG", "PNG"))
        with picture:
            return picture.height, picture.width, read_orientation(content)
    except Exception as error:  # Pillow has no common class for damaged headers.
        raise PhotoError("unreadable_photos", f"{place}: not a readable JPEG or PNG ({len(content)} bytes)") from error
