"""COCO's instances file: photos, annotations and classes, every value looked at."""

import contextlib
import dataclasses
from array import array

from lts_keras.data.schema import DataError
from lts_keras.data.sources.annotations import Annotation, Image
from lts_keras.data.sources.fields import Fields, identity, read_json, short

__all__ = ["read_images", "read_instances", "segmentation_of"]


class _Unreferred(dict):
    """An annotation that nothing refers to, without its outline."""


def read_instances(path, needed=None):
    """Reads a COCO instances file in the least memory.

    Args:
        path: path of the JSON file.
        needed: ids of the annotations that are referred to; all if `None`. The others are kept without their outlines,
            and left out where they are damaged.

    Returns:
        (images, annotations) as dicts by id, `Image` and `Annotation`.

    Raises:
        DataError: the file is missing, damaged, not COCO's layout, or has an id twice; the message names file, kind,
            id, key, what was found and what was expected.
    """

    def compact(item):
        # Every polygon is packed while it is parsed: as Python floats RefCOCO's would take four times the memory.
        if "segmentation" in item and "id" in item:
            if needed is not None and not _is_needed(item["id"], needed):
                del item["segmentation"]
                return _Unreferred(item)
            if isinstance(item["segmentation"], list):
                item["segmentation"] = [_pack(part) for part in item["segmentation"]]
        return item

    content = read_json(path, compact)
    if not isinstance(content, dict):
        raise DataError(f"{path}: not COCO's instances layout: expected: an object. Received: {short(content)}")
    names = _read_categories(path, _list(path, content, "categories"))
    images = read_images(path, _list(path, content, "images"))
    if _mixes_frames(content):
        images = {key: dataclasses.replace(image, mixed_frames=True) for key, image in images.items()}
    return images, _read_annotations(path, _list(path, content, "annotations"), images, names)


def read_images(path, items):
    """COCO's `images` as dict of `Image` by id; raises `DataError` as `read_instances`."""
    images, seen, fields = {}, {}, Fields(path, "image", "images")
    for index, item in enumerate(items):
        key = fields.at(index, item).own_identity()
        fields.once(seen)
        # A tool that does not know the size writes `null`; a file without these keys is of another layout.
        unknown = fields.values.get("height", 0) is None and fields.values.get("width", 0) is None
        height, width = (None, None) if unknown else (fields.side("height"), fields.side("width"))
        file_name, split = fields.text("file_name", filled=True), fields.text("split", None)
        if "\0" in file_name:
            raise fields.error("file_name", file_name, "the name of a file")
        images[key] = Image(file_name, height, width, split or None)
    return images


def _mixes_frames(content):
    """Whether Label Studio wrote a file: it lists the stored size, and multiplies shares of the upright photo by it."""
    info = content.get("info")
    return isinstance(info, dict) and info.get("contributor") == "Label Studio"


def _read_categories(path, items):
    names, seen, fields = {}, {}, Fields(path, "category", "categories")
    for index, item in enumerate(items):
        key = fields.at(index, item).own_identity()
        fields.once(seen)
        names[key] = fields.text("name", filled=True)
    return names


def _read_annotations(path, items, images, names):
    annotations, seen, fields = {}, {}, Fields(path, "annotation", "annotations")
    for index, item in enumerate(items):
        if isinstance(item, _Unreferred):
            with contextlib.suppress(DataError):
                _keep_unreferred(fields.at(index, item), annotations, images, names)
            continue
        key = fields.at(index, item).own_identity()
        fields.once(seen)
        image_id = fields.identity("image_id")
        if image_id not in images:
            raise fields.error("image_id", image_id, "the id of a photo that the file lists")
        box, category = fields.corner_box("bbox"), fields.identity("category_id", None)
        annotations[key] = Annotation(
            image_id,
            segmentation_of(fields),
            box,
            names.get(category, ""),
            _is_crowd(fields),
            () if category in names or category is None else ("unknown_classes",),
        )
    return annotations


def _keep_unreferred(fields, annotations, images, names):
    key, image_id = fields.own_identity(), fields.identity("image_id")
    if image_id in images:
        category = names.get(fields.identity("category_id", None), "")
        found = Annotation(image_id, None, fields.corner_box("bbox"), category, _is_crowd(fields))
        annotations.setdefault(key, found)


def segmentation_of(fields):
    """Outlines or run lengths of an annotation; `None` for a box alone, as tools write by `[]`, `null` or nothing."""
    value = fields.values.get("segmentation")
    if value is None or (isinstance(value, list) and not any(_is_filled(part) for part in value)):
        return None
    if not isinstance(value, list | dict):
        raise fields.error("segmentation", value, "a list of outlines, or run lengths with size and counts")
    return value


def _is_filled(part):
    return not isinstance(part, list | array) or len(part) > 0


def _is_crowd(fields):
    value = fields.values.get("iscrowd")
    if value not in (None, 0, 1):
        raise fields.error("iscrowd", value, "0 or 1")
    return bool(value)


def _is_needed(value, needed):
    try:
        return identity(value) in needed
    except (TypeError, ValueError):
        return True  # The id itself is at fault, and named as such.


def _list(path, content, key):
    if key not in content:
        raise DataError(f"{path}: not COCO's instances layout: '{key}' is missing; expected: a list")
    value = content[key]
    if not isinstance(value, list):
        raise DataError(f"{path}: not COCO's instances layout: {key}: expected: a list. Received: {short(value)}")
    return value


def _pack(part):
    try:
        # A Boolean would pass for a number.
        return array("d", part) if isinstance(part, list) and {bool}.isdisjoint(map(type, part)) else part
    except (TypeError, OverflowError):
        return part  # `rasterize` names what is wrong with it, and with which annotation.
