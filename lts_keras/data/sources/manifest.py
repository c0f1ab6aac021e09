"""A team's own photos: one JSON object a line, checked against one schema. See docs/own-data.md."""

from typing import Annotated

import numpy as np
import pydantic
from pydantic import Field

from lts_keras.data.prepare.masks import decode_mask, rasterize, tight_box
from lts_keras.data.schema import DataError, Photo, ReferredObject
from lts_keras.data.sources.base import Entry, PhotoError, Source, size_of_photo

__all__ = ["ManifestSource", "manifest_schema"]

Number = Annotated[float, Field(allow_inf_nan=False)]


class _Line(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)


class RunLength(_Line):
    """COCO's run-length mask."""

    size: Annotated[list[int], Field(min_length=2, max_length=2, description="[height, width] of the photo")]
    counts: Annotated[str | list[int], Field(description="compressed text, or a list of run lengths")]


class ObjectLine(_Line):
    """One object and the expressions that refer to it. Give one of `polygons`, `rle`, `mask`, `box`, `no_target`."""

    expressions: Annotated[list[str], Field(min_length=1, description="sentences that refer to this object alone")]
    polygons: Annotated[
        list[Annotated[list[Number], Field(min_length=6)]] | None,
        Field(default=None, min_length=1, description="outlines [x0, y0, x1, y1, ...] in pixels; several are joined"),
    ]
    rle: Annotated[RunLength | None, Field(default=None, description="COCO run-length mask")]
    mask: Annotated[
        str | None,
        Field(default=None, description="path of a PNG of the photo's size, beside the manifest: above 0 is inside"),
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
    category: Annotated[str, Field(default="", description="class name, for the statistics")]
    ref_id: Annotated[
        str | None, Field(default=None, description="unique in the file; made from the place if left out")
    ]
    split: Annotated[str | None, Field(default=None, min_length=1, description="instead of the photo's")]

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

    image: Annotated[str, Field(min_length=1, description="path of a JPEG or PNG, relative to the manifest's folder")]
    objects: Annotated[list[ObjectLine], Field(min_length=1)]
    split: Annotated[str, Field(default="train", min_length=1, description="train, val, test or any other name")]
    coco_id: Annotated[
        int | None, Field(default=None, description="number of the photo in COCO, so that leaks are found by it too")
    ]


def manifest_schema():
    """Returns the JSON schema of one line, as `lts_keras/data/manifest.schema.json` holds it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **PhotoLine.model_json_schema(),
        "title": "One line of an LTS manifest",
    }


class ManifestSource(Source):
    """JSON lines; memory holds where each line starts."""

    def __init__(self, config, root):
        super().__init__(config, root)
        self._file = self.root / config.file
        self._entries, self._places, self._images = [], {}, {}
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
        """The manifest and every mask beside it; see `Source`."""
        return (self._file, *sorted({path for _, masks in self._images.values() for path in masks}))

    def entries(self):
        """See `Source`."""
        return [entry for entry in self._entries if entry.splits]

    def place(self, key):
        """See `Source`."""
        return str(self._images[key][0])

    def image_bytes(self, key):
        """See `Source`."""
        return self.read_file(self._images[key][0])

    def read(self, key):
        """Reads a line again, and its photo; see `Source`."""
        with open(self._file, "rb") as file:
            file.seek(key)
            line = self._parse(file.readline(), self._places[key])
        content = self.image_bytes(key)
        height, width = size_of_photo(content, self.place(key))
        objects = []
        for index, item in enumerate(line.objects):
            split = self.split(item.split or line.split)
            if split is not None:
                objects.append(self._object(item, index, split, key, height, width))
        return Photo(self._photo_id(line), content, height, width, tuple(objects))

    def _add(self, start, number, content):
        line = self._parse(content, number)
        splits = {self.split(item.split or line.split) for item in line.objects} - {None}
        masks = tuple(self._file.parent / item.mask for item in line.objects if item.mask)
        for path in masks:
            if not path.is_file():
                raise DataError(f"{self._file}: line {number}: no such mask: {path}")
        self._places[start] = number
        self._images[start] = (self._file.parent / line.image, masks)
        self._entries.append(Entry(start, self._photo_id(line), frozenset(splits)))

    def _parse(self, content, number):
        try:
            return PhotoLine.model_validate_json(content.removeprefix(b"\xef\xbb\xbf"))
        except pydantic.ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(str(part) for part in problem["loc"] if not str(part).startswith("function"))
            words = problem["msg"].removeprefix("Value error, ")
            where = f"{self._file}: line {number}: {key + ': ' if key else ''}"
            raise DataError(f"{where}{' '.join(words.split())}") from None

    def _photo_id(self, line):
        return f"coco:{line.coco_id}" if line.coco_id is not None else f"{self.name}:{line.image}"

    def _object(self, item, index, split, key, height, width):
        where = f"{self._file}: line {self._places[key]}: object {index}"
        mask = self._mask(item, where, height, width)
        box = None if item.no_target else tuple(item.box) if item.box else self._box(item, mask)
        if box and (box[2] <= box[0] or box[3] <= box[1]):
            raise DataError(f"{where}: box is [x0, y0, x1, y1] with x0 < x1 and y0 < y1. Received: {list(box)}")
        ref_id = item.ref_id or f"{self._places[key]}-{index}"
        return ReferredObject(ref_id, self.name, split, tuple(item.expressions), mask, box, item.category)

    def _box(self, item, mask):
        """Bounds of the mask; of an empty one a box without area, so that it is not taken for "no target"."""
        corners = [side for part in item.polygons or () for side in part]
        if mask.any() or not corners:
            return tight_box(mask) or (0.0, 0.0, 1e-3, 1e-3)
        x, y = corners[::2], corners[1::2]
        return min(x), min(y), max(x) + 1e-3, max(y) + 1e-3

    def _mask(self, item, where, height, width):
        if item.no_target:
            return np.zeros((height, width), bool)
        try:
            if item.mask:
                mask = decode_mask((self._file.parent / item.mask).read_bytes())
                if mask.shape != (height, width):
                    raise PhotoError(
                        "size_mismatches",
                        f"{self._file.parent / item.mask}: the photo is {width} x {height} pixels. "
                        f"Received: {mask.shape[1]} x {mask.shape[0]}",
                    )
                return mask
            region = item.polygons or (item.rle and item.rle.model_dump())
            return rasterize(region, height, width) if region else None
        except PhotoError:
            raise
        except (OSError, DataError) as error:
            raise DataError(f"{where}: {error}") from error
