"""A team's own photos: one JSON object a line, checked against one schema. See docs/own-data.md."""

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Annotated

import numpy as np
import pydantic
from PIL import Image
from pydantic import Field

from lts_keras.data.prepare.mask_pictures import read_mask
from lts_keras.data.prepare.masks import rasterize, tight_box
from lts_keras.data.schema import DataError, Photo, ReferredObject
from lts_keras.data.sources.annotated import photo_findings
from lts_keras.data.sources.base import Entry, PhotoError, Source, describe_photo
from lts_keras.data.sources.fields import short, utf8

__all__ = ["ManifestSource", "manifest_schema"]

Number = Annotated[float, Field(allow_inf_nan=False)]


def _whole(value):
    """48 for 48.0, as some writers of JSON have it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _utf8(value):
    if not utf8(value):
        raise ValueError("expected: text that UTF-8 can hold; half of a surrogate pair stands in it")
    return value


Whole = Annotated[int, pydantic.BeforeValidator(_whole)]
Text = Annotated[str, pydantic.AfterValidator(_utf8)]


class _Line(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)


class RunLength(_Line):
    """COCO's run-length mask."""

    size: Annotated[list[Whole], Field(min_length=2, max_length=2, description="[height, width] of the photo")]
    counts: Annotated[Text | list[int], Field(description="compressed text, or a list of run lengths")]


class ObjectLine(_Line):
    """One object and the expressions that refer to it. Give one of `polygons`, `rle`, `mask`, `box`, `no_target`."""

    expressions: Annotated[list[Text], Field(min_length=1, description="sentences that refer to this object alone")]
    polygons: Annotated[
        list[Annotated[list[Number], Field(min_length=6)]] | None,
        Field(default=None, min_length=1, description="outlines [x0, y0, x1, y1, ...] in pixels; several are joined"),
    ]
    rle: Annotated[RunLength | None, Field(default=None, description="COCO run-length mask")]
    mask: Annotated[
        Text | None,
        Field(
            default=None,
            min_length=1,
            description="path of a PNG of the photo's size, beside the manifest; docs/own-data.md says what is inside",
        ),
    ]
    box: Annotated[
        list[Number] | None,
        Field(
            default=None,
            min_length=4,
            max_length=4,
            description="[x0, y0, x1, y1] in pixels; alone it trains the locating part, beside a mask it is compared",
        ),
    ]
    no_target: Annotated[bool, Field(default=False, description="true where the photo has no such object")]
    category: Annotated[Text, Field(default="", description="class name, for the statistics")]
    ref_id: Annotated[
        Text | None, Field(default=None, description="unique in the file; made from the place if left out")
    ]
    split: Annotated[Text | None, Field(default=None, min_length=1, description="instead of the photo's")]

    @pydantic.model_validator(mode="after")
    def _one_region(self):
        given = [name for name in ("polygons", "rle", "mask") if getattr(self, name) is not None]
        given += ["no_target"] if self.no_target else []
        if len(given) > 1 or (self.no_target and self.box) or not (given or self.box):
            given += ["box"] if self.box else []
            raise ValueError(
                "an object has one of polygons, rle, mask (each with or without box), box, no_target. "
                f"Received: {', '.join(given) or 'none'}"
            )
        return self


class PhotoLine(_Line):
    """One photo: a line of the manifest."""

    image: Annotated[Text, Field(min_length=1, description="path of a JPEG or PNG, relative to the manifest's folder")]
    objects: Annotated[list[ObjectLine], Field(min_length=1)]
    split: Annotated[Text, Field(default="train", min_length=1, description="train, val, test or any other name")]
    coco_id: Annotated[
        Whole | None, Field(default=None, description="number of the photo in COCO, so that leaks are found by it too")
    ]


def manifest_schema():
    """Returns the JSON schema of one line, as `lts_keras/data/manifest.schema.json` holds it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **PhotoLine.model_json_schema(),
        "title": "One line of an LTS manifest",
    }


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
                try:
                    with Image.open(io.BytesIO(self._mask_bytes(item))) as picture:
                        sizes.add((picture.height, picture.width))
                except Exception:  # noqa: S112 - Pillow has no common class for damaged headers
                    continue
        return sizes

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
            split = self.split(item.split or line.split)
            if split is not None:
                objects.append(self._object(item, index, split, key, frame.height, frame.width))
        findings = photo_findings(described[2], frame)
        return Photo(
            self._photo_id(line), content, frame.height, frame.width, tuple(objects), frame.orientation, findings
        )

    def _line(self, key):
        with open(self._file, "rb") as file:
            file.seek(key)
            return self._parse(file.readline(), self._places[key])

    def _add(self, start, number, content):
        line, kept = self._parse(content, number), {}
        self._places[start] = number
        self._images[start] = self._file.parent / line.image.replace("\\", "/")
        for index, item in enumerate(line.objects):
            split, where = self.split(item.split or line.split), f"{self._file}: line {number}: object {index}"
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

    def _parse(self, content, number):
        content = content.removeprefix(b"\xef\xbb\xbf")
        try:
            line = PhotoLine.model_validate_json(content)
        except pydantic.ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(str(part) for part in problem["loc"] if not str(part).startswith("function"))
            words = problem["msg"].removeprefix("Value error, ")
            where = f"{self._file}: line {number}: {key + ': ' if key else ''}"
            raise DataError(f"{where}{' '.join(words.split())}") from None
        twice = _key_twice(content)
        if twice:
            raise DataError(f"{self._file}: line {number}: an object has the key {twice} twice; expected: once")
        return line

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


def _key_twice(content):
    """The first key that an object of a JSON text has twice, or `None`; the last value would win in silence."""
    found = []

    def look(pairs):
        names = [key for key, _ in pairs]
        if len(set(names)) < len(names):
            found.append(short(next(key for key in names if names.count(key) > 1)))

    json.loads(content, object_pairs_hook=look)
    return found[0] if found else None
