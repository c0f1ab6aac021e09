"""A team's own photos: one JSON object a line, checked against one schema. See docs/own-data.md."""

import hashlib
import os
from pathlib import Path

import numpy as np

from lts_keras.data.prepare.mask_pictures import mask_size, read_mask
from lts_keras.data.prepare.masks import rasterize, tight_box
from lts_keras.data.schema import DataError, Photo, ReferredObject
from lts_keras.data.sources.annotated import photo_findings
from lts_keras.data.sources.base import Entry, PhotoError, Source, describe_photo
from lts_keras.data.sources.manifest_line import parse_line

__all__ = ["ManifestSource"]


class ManifestSource(Source):
    """JSON lines; memory holds where each line starts, and digests of its objects.

    A photo is known by the source's name and its path from the root on, or by its number in COCO; an object without
    `ref_id` by line and place.
    """

    def __init__(self, config, root):
        super().__init__(config, root)
        self._file = self.root / config.file
        self._entries, self._places, self._images, self._digests = [], {}, {}, {}
        try:
            with open(self._file, "rb") as file:
                start, number = 0, 0
                for content in file:
                    number += 1
                    if content.strip():
                        self._add(start, number, content)
                    start += len(content)
        except OSError as error:
            raise DataError(f"{self._file}: cannot read the manifest: {error.strerror or error}") from error
        if not self._entries:
            raise DataError(f"{self._file}: the manifest has no line")

    @property
    def files(self):
        """See `Source`."""
        return (self._file,)

    @property
    def said(self):
        """See `Source`."""
        pixels = self.config.orientation or "upright"
        return (f"{self.name}: photos of one's own: known by their paths, annotations in the {pixels} pixels",)

    def entries(self):
        """See `Source`."""
        return [entry for entry in self._entries if entry.splits]

    def place(self, key):
        """See `Source`."""
        return str(self._images[key])

    def origin(self, key):
        """See `Source`."""
        return self._images[key], ""

    def image_bytes(self, key):
        """See `Source`."""
        return self.read_file(self._images[key])

    def annotated_sizes(self, key, orientation):
        """See `Source`; sizes of masks and run lengths."""
        if orientation < 5:
            return set()
        sizes = set()
        for item in self._line(key).objects:
            if item.rle:
                sizes.add(tuple(item.rle.size))
            if item.mask:
                # What is wrong with a picture is said where it is read.
                sizes.add(mask_size(self._mask_bytes(item)))
        return sizes - {None}

    def object_digests(self, key, digest):
        """See `Source`."""
        found = {}
        for split, (content, masks) in self._digests[key].items():
            facts = (content, self.ref_prefix, [digest(path) for path in masks])
            found[split] = hashlib.sha256(repr(facts).encode()).hexdigest()
        return found

    def read(self, key):
        """Reads a line again, and its photo; see `Source`."""
        line, content = self._line(key), self.image_bytes(key)
        described = describe_photo(content, self.place(key))
        frame = self.frame(key, *described)
        objects = []
        for index, item in enumerate(line.objects):
            split = self.split(item.split or line.split, photo=line.image)
            if split is not None:
                objects.append(self._object(item, index, split, key, frame.height, frame.width))
        findings = photo_findings(described[2], frame)
        return Photo(
            self._photo_id(line), content, frame.height, frame.width, tuple(objects), frame.orientation, findings
        )

    def _line(self, key):
        with open(self._file, "rb") as file:
            file.seek(key)
            return parse_line(file.readline(), f"{self._file}: line {self._places[key]}")

    def _add(self, start, number, content):
        line, kept = parse_line(content, f"{self._file}: line {number}"), {}
        self._places[start] = number
        self._images[start] = self._file.parent / line.image.replace("\\", "/")
        for index, item in enumerate(line.objects):
            where = f"{self._file}: line {number}: object {index}"
            split = self.split(item.split or line.split, where, line.image)
            self.num_objects += 1
            if split is None:
                self.left_out.add("dropped split", f"{where} of split {item.split or line.split}")
                continue
            if item.mask and not self._mask_path(item).is_file():
                raise DataError(f"{self._file}: line {number}: no such mask: {self._mask_path(item)}")
            kept.setdefault(split, []).append((self._ref_id(item, number, index), item))
        self._digests[start] = {
            split: (
                hashlib.sha256(
                    repr([(self.name, ref_id, item.model_dump_json()) for ref_id, item in items]).encode()
                ).hexdigest(),
                tuple(self._mask_path(item) for _, item in items if item.mask),
            )
            for split, items in kept.items()
        }
        count = sum(len(items) for items in kept.values())
        self._entries.append(Entry(start, self._photo_id(line), frozenset(kept), count, line.coco_id))

    def _mask_path(self, item):
        return self._file.parent / item.mask.replace("\\", "/")

    def _mask_bytes(self, item):
        return self._mask_path(item).read_bytes()

    def _photo_id(self, line):
        if line.coco_id is not None:
            return f"coco:{line.coco_id}"
        path = Path(os.path.normpath(self._file.parent / line.image.replace("\\", "/")))
        return f"{self.name}:{self.relative(path)}"

    @staticmethod
    def _ref_id(item, number, index):
        return item.ref_id or f"{number}-{index}"

    def _object(self, item, index, split, key, height, width):
        where = f"{self._file}: line {self._places[key]}: object {index}"
        mask, finding = self._mask(item, where, height, width)
        box = None if item.no_target else tuple(item.box) if item.box else self._box(item, mask)
        if box and (box[2] <= box[0] or box[3] <= box[1]):
            raise DataError(f"{where}: box is [x0, y0, x1, y1] with x0 < x1 and y0 < y1. Received: {list(box)}")
        return ReferredObject(
            ref_id=self.ref_prefix + self._ref_id(item, self._places[key], index),
            dataset=self.name,
            split=split,
            expressions=tuple(item.expressions),
            mask=mask,
            box=box,
            category=item.category,
            findings=(finding,) if finding else (),
        )

    def _box(self, item, mask):
        """Bounds of the mask; of an empty one a box without area, so that it is not taken for "no target"."""
        corners = [side for part in item.polygons or () for side in part]
        if mask.any() or not corners:
            return tight_box(mask) or (0.0, 0.0, 1e-3, 1e-3)
        x, y = corners[::2], corners[1::2]
        return min(x), min(y), max(x) + 1e-3, max(y) + 1e-3

    def _mask(self, item, where, height, width):
        """(mask, or `None` for a box alone; what was strange about its picture, or `""`)."""
        if item.no_target:
            return np.zeros((height, width), bool), ""
        try:
            if item.mask:
                mask, finding = read_mask(self._mask_bytes(item))
                if mask.shape != (height, width):
                    raise PhotoError(
                        "size_mismatches",
                        f"{self._mask_path(item)}: the photo is {width} x {height} pixels. "
                        f"Received: {mask.shape[1]} x {mask.shape[0]}",
                    )
                return mask, finding
            region = item.polygons or (item.rle and item.rle.model_dump())
            return (rasterize(region, height, width) if region else None), ""
        except PhotoError:
            raise
        except (OSError, DataError) as error:
            raise DataError(f"{where}: {error}") from error
