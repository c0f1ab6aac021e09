"""What the REFER layout, COCO files and parquet dumps share: annotations, and refs that point to them."""

import dataclasses
from array import array
from pathlib import Path

import numpy as np

from lts_keras.data.prepare.masks import rasterize
from lts_keras.data.schema import DataError, Photo, ReferredObject
from lts_keras.data.sources.base import Entry, PhotoError, Source, box_from_corner, read_json, size_of_photo

__all__ = ["AnnotatedSource", "Annotation", "Image", "Ref", "expect", "image_of", "read_instances"]


@dataclasses.dataclass(frozen=True, slots=True)
class Image:
    """A photo as the annotation file names it; the size (`None` if not told) is what the annotations were made for."""

    file_name: str
    height: int | None
    width: int | None
    split: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Annotation:
    """One object: COCO segmentation (`None` for a box alone), box `(x0, y0, x1, y1)`, class, crowd or not."""

    image_id: int | str
    segmentation: list | dict | None
    box: tuple[float, float, float, float]
    category: str
    crowd: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Ref:
    """Expressions and the keys of the annotations they refer to: one, several, or none."""

    ref_id: str
    split: str
    expressions: tuple[str, ...]
    annotations: tuple


class AnnotatedSource(Source):
    """A source whose annotations are held in memory: `images`, `annotations` and `refs` by their ids.

    A subclass fills the three in its constructor, `refs` with splits renamed and dropped ones left out. Its `files` are
    that of the refs first, that of the annotations last.
    """

    photos = Path(".")
    """Folder of the photos."""

    def __init__(self, config, root):
        super().__init__(config, root)
        self.images, self.annotations, self.refs = {}, {}, {}

    def add_ref(self, image_id, ref):
        """Keeps a ref, unless its split is dropped; all its annotations must be known."""
        refs, expressions = self.counts.get(ref.split, (0, 0))
        self.counts[ref.split] = refs + 1, expressions + len(ref.expressions)
        split = self.split(ref.split)
        if split is None:
            return
        for key in ref.annotations:
            if key not in self.annotations or self.annotations[key].image_id != image_id:
                raise DataError(
                    f"{self.files[0]}: ref {ref.ref_id} points to annotation {key}, which its photo does not have"
                )
        self.refs.setdefault(image_id, []).append(dataclasses.replace(ref, split=split))

    def entries(self):
        """See `Source`."""
        return [
            Entry(image_id, self.photo_id(image_id), frozenset(ref.split for ref in refs))
            for image_id, refs in self.refs.items()
        ]

    def photo_id(self, image_id):
        """`coco:` and COCO's number, the same in every data set."""
        return f"coco:{image_id}"

    def place(self, key):
        """See `Source`."""
        return str(self.photos / self.images[key].file_name)

    def image_bytes(self, key):
        """See `Source`."""
        return self.read_file(self.photos / self.images[key].file_name)

    def read(self, key):
        """Rasterises the annotations of a photo, each once; see `Source`."""
        content, image = self.image_bytes(key), self.images[key]
        size = size_of_photo(content, self.place(key))
        if image.height is not None and size != (image.height, image.width):
            raise PhotoError(
                "size_mismatches",
                f"{self.place(key)}: the annotations are for {image.width} x {image.height} pixels. "
                f"Received: {size[1]} x {size[0]}",
            )
        masks = {}
        objects = tuple(self._object(ref, masks, *size) for ref in self.refs[key])
        return Photo(self.photo_id(key), content, *size, objects)

    def _object(self, ref, masks, height, width):
        found = [self.annotations[key] for key in ref.annotations]
        if any(annotation.segmentation is None for annotation in found):
            mask = None
        else:
            key = tuple(sorted(ref.annotations, key=str))
            if key not in masks:
                masks[key] = self._union(key, height, width)
            mask = masks[key]
        boxes = np.array([annotation.box for annotation in found])
        box = (*boxes[:, :2].min(0).tolist(), *boxes[:, 2:].max(0).tolist()) if found else None
        return ReferredObject(
            ref_id=ref.ref_id,
            dataset=self.name,
            split=ref.split,
            expressions=ref.expressions,
            mask=mask,
            box=box,
            category=" and ".join(dict.fromkeys(annotation.category for annotation in found if annotation.category)),
        )

    def _union(self, keys, height, width):
        mask = np.zeros((height, width), bool)
        for key in keys:
            try:
                part = rasterize(self.annotations[key].segmentation, height, width)
            except DataError as error:
                raise DataError(f"{self.files[-1]}: annotation {key}: {error}") from error
            mask = part if len(keys) == 1 else mask | part
        return mask


def read_instances(path, needed=None):
    """Reads a COCO instances file in the least memory.

    Args:
        path: path of the JSON file.
        needed: ids of the annotations to keep; all if `None`.

    Returns:
        (images, annotations) as dicts by id, `Image` and `Annotation`.

    Raises:
        DataError: the file is missing, damaged, or not COCO's layout.
    """

    def compact(item):
        # Every polygon is packed while it is parsed: as Python floats RefCOCO's would take four times the memory.
        if "segmentation" in item and "id" in item:
            if needed is not None and not (isinstance(item["id"], int | str) and item["id"] in needed):
                return None
            if isinstance(item["segmentation"], list):
                item["segmentation"] = [_pack(part) for part in item["segmentation"]]
        return item

    content = read_json(path, object_hook=compact)
    try:
        names = {category["id"]: expect(category["name"], str) for category in content["categories"]}
        images = {expect(image["id"], int | str): image_of(image) for image in content["images"]}
        annotations = {}
        for item in filter(None, content["annotations"]):
            if item["image_id"] not in images:
                raise ValueError(f"annotation {item['id']} is of photo {item['image_id']}, which is not listed")
            annotations[item["id"]] = Annotation(
                item["image_id"],
                item.get("segmentation"),
                box_from_corner(item["bbox"]),
                names.get(item.get("category_id"), ""),
                bool(item.get("iscrowd", 0)),
            )
    except KeyError as error:
        raise DataError(f"{path}: not COCO's instances layout: {error} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: not COCO's instances layout: {' '.join(str(error).split())}") from error
    return images, annotations


def image_of(item):
    """`Image` of an entry of COCO's `images`; raises `TypeError`, `KeyError` or `ValueError` for a malformed one."""
    height, width = (expect(item[key], int) for key in ("height", "width"))
    if min(height, width) < 1:
        raise ValueError(f"a photo has a size in pixels. Received: {width} x {height}")
    return Image(expect(item["file_name"], str), height, width, item.get("split") and expect(item["split"], str))


def expect(value, kind):
    """Returns `value` if it is of a type; raises `TypeError` else."""
    if not isinstance(value, kind) or isinstance(value, bool):
        name = getattr(kind, "__name__", str(kind))
        raise TypeError(f"a value of type {name} is needed. Received: {str(value)[:60]!r}")
    return value


def _pack(part):
    try:
        return array("d", part) if isinstance(part, list) else part
    except TypeError:
        return part  # `rasterize` names what is wrong with it, and with which annotation.
