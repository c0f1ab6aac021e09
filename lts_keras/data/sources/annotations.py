"""What annotation files say of photos, objects and refs, as plain values."""

import dataclasses
import re

__all__ = ["Annotation", "Image", "Ref", "is_coco_name", "size_of_runs"]

_COCO_NAME = re.compile(r"(?:COCO_(?:train|val|test)\d{4}_)?(\d{12})(?:_\d+)?\.jpg")


@dataclasses.dataclass(frozen=True, slots=True)
class Image:
    """A photo as the annotation file names it; the size (`None` if not told) is what the annotations were made for.

    `mixed_frames`: the tool that wrote it mixes stored and upright pixels where the two are of different size.
    """

    file_name: str
    height: int | None
    width: int | None
    split: str | None = None
    mixed_frames: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Annotation:
    """One object: COCO segmentation (`None` for a box alone), box `(x0, y0, x1, y1)`, class, crowd or not.

    `findings` are those of `ReferredObject`.
    """

    image_id: int | str
    segmentation: list | dict | None
    box: tuple[float, float, float, float]
    category: str
    crowd: bool = False
    findings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Ref:
    """Expressions and the keys of the annotations they refer to: one, several, or none."""

    ref_id: str
    split: str
    expressions: tuple[str, ...]
    annotations: tuple


def size_of_runs(segmentation):
    """Height and width that run lengths are for, if they say it in whole numbers within reason; else `None`."""
    size = segmentation.get("size") if isinstance(segmentation, dict) else None
    usable = isinstance(size, list) and len(size) == 2 and all(type(side) is int and 0 < side < 2**15 for side in size)
    return tuple(size) if usable else None


def is_coco_name(file_name, image_id):
    """Whether a file name is the one that COCO gives to the photo of an id: `COCO_train2014_000000581857.jpg`."""
    found = _COCO_NAME.fullmatch(file_name.replace("\\", "/").rpartition("/")[2])
    return bool(found) and int(found.group(1)) == image_id
