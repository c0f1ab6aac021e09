"""The one schema that every source is read into: a photo and the objects referred to in it."""

import dataclasses

import numpy as np

__all__ = ["DataError", "Photo", "ReferredObject", "one_line"]

_LONGEST, _HEAD = 590, 400


def one_line(text):
    """A message as one line that every terminal shows, whatever names and ids stand in it.

    Args:
        text: str.

    Returns:
        str of fewer than 600 characters: what cannot be printed is written as in Python's source, and of a longer
        message the middle is left out.
    """
    if not text.isprintable():
        text = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    return text if len(text) <= _LONGEST else f"{text[:_HEAD]} ... {text[_HEAD + 5 - _LONGEST :]}"


class DataError(ValueError):
    """Data that cannot be used; the message is one line and names the file, what was found and what would be right."""

    def __init__(self, message):
        super().__init__(one_line(message))


@dataclasses.dataclass(frozen=True)
class ReferredObject:
    """One object (or, for gRefCOCO, several or none) and the expressions that refer to it.

    Attributes:
        ref_id: unique within a data set.
        dataset: name of the data set.
        split: `"train"`, `"val"`, `"testA"`, `"testB"`, `"test"` ...
        expressions: sentences as written by people, in their original order.
        mask: bool array `(height, width)` at the photo's original size, all `False` for an expression without
            target, or `None` where the object has a box alone.
        box: `(x0, y0, x1, y1)` in pixels of the photo, exclusive at the far side, or `None` for no target.
        category: class name, `""` if unknown.
        several: whether several objects are meant; mask and box are those of all together.
        findings: kinds of what was strange while it was read, for the report: `"jpeg_masks"`, `"unknown_classes"` ...
    """

    ref_id: str
    dataset: str
    split: str
    expressions: tuple[str, ...]
    mask: np.ndarray | None
    box: tuple[float, float, float, float] | None
    category: str = ""
    findings: tuple[str, ...] = ()
    several: bool = False


@dataclasses.dataclass(frozen=True)
class Photo:
    """One photograph, its bytes as they lie on disk, and its referred objects.

    Attributes:
        photo_id: unique within the data, for example `"coco:581857"`; the COCO id stands behind `coco:` in every
            data set, so that the same photo has the same id everywhere.
        image_bytes: the original JPEG or PNG bytes, never re-encoded.
        height, width: size in pixels of the frame that masks and boxes are in: the stored pixels turned by
            `orientation`.
        objects: the referred objects, of any data set and split.
        orientation: EXIF code 1..8 of the turn; 1 where the annotations lie in the stored pixels, as COCO's do.
        findings: kinds of what was strange about the photo itself, for the report: `"turned_photos"`,
            `"stored_photos"`, `"frame_by_size"`.
        others: class and box, as in `ReferredObject`, of each annotated object that none of `objects` stands for alone;
            regions of many objects, as COCO's crowds, are not among them.
    """

    photo_id: str
    image_bytes: bytes
    height: int
    width: int
    objects: tuple[ReferredObject, ...]
    orientation: int = 1
    findings: tuple[str, ...] = ()
    others: tuple[tuple[str, tuple[float, float, float, float]], ...] = ()
