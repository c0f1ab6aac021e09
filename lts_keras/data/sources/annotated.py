"""What the REFER layout, COCO files and parquet dumps share: annotations, and refs that point to them."""

import dataclasses
import hashlib
from array import array
from pathlib import Path

import numpy as np

from lts_keras.data.orientation import upright_size
from lts_keras.data.prepare.masks import rasterize
from lts_keras.data.schema import DataError, Photo, ReferredObject
from lts_keras.data.sources.annotations import is_coco_name, size_of_runs
from lts_keras.data.sources.base import Entry, PhotoError, Source, describe_photo

__all__ = ["AnnotatedSource", "photo_findings"]


class AnnotatedSource(Source):
    """A source whose annotations are held in memory: `images`, `annotations` and `refs` by their ids.

    A subclass fills the three in its constructor, `refs` with splits renamed and dropped ones left out. Its `files` are
    that of the refs first, that of the annotations last. Ids are those of the file that lists the photos; a photo is
    known elsewhere by that file and its id, or by COCO's number where it is one of COCO's.
    """

    photos = Path(".")
    """Folder of the photos."""

    def __init__(self, config, root):
        super().__init__(config, root)
        self.images, self.annotations, self.refs = {}, {}, {}
        self._by_photo = None
        self._is_coco = None

    @property
    def is_coco(self):
        """What `coco_photos` says; else whether the file name of every photo is COCO's for its id."""
        if self._is_coco is None:
            said = self.config.coco_photos
            names = ((self.images[image_id].file_name, image_id) for image_id in self.refs)
            self._is_coco = bool(self.refs) and all(is_coco_name(*one) for one in names) if said is None else said
        return self._is_coco

    @property
    def said(self):
        """See `Source`."""
        why = "every file name is COCO's for its id" if self.config.coco_photos is None else "coco_photos"
        pixels = self.config.orientation or ("stored" if self.is_coco else "upright")
        if self.is_coco:
            return (f"{self.name}: COCO's own photos ({why}): known by COCO's ids, annotations in the {pixels} pixels",)
        return (f"{self.name}: photos of one's own: known by {self._listed_in}, annotations in the {pixels} pixels",)

    @property
    def _listed_in(self):
        """The file that the ids of photos are local to."""
        return self.relative(self.files[-1])

    def add_ref(self, image_id, ref):
        """Keeps a ref, unless its split is dropped; all its annotations must be known."""
        refs, expressions = self.counts.get(ref.split, (0, 0))
        self.counts[ref.split] = refs + 1, expressions + len(ref.expressions)
        self.num_objects += 1
        split = self.split(ref.split, f"{self.files[0]}: ref {ref.ref_id}", image_id)
        if split is None:
            self.left_out.add("dropped split", f"{self.files[0]}: ref {ref.ref_id} of split {ref.split}")
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
            Entry(
                image_id,
                self.photo_id(image_id),
                frozenset(ref.split for ref in refs),
                len(refs),
                image_id if self.is_coco else None,
            )
            for image_id, refs in self.refs.items()
        ]

    def photo_id(self, image_id):
        """`coco:` and COCO's number, the same in every data set; else the file that lists the photo, and its id."""
        return f"coco:{image_id}" if self.is_coco else f"{self._listed_in}:{image_id}"

    def place(self, key):
        """See `Source`."""
        return str(self._path(key))

    def _path(self, key):
        # Tools on Windows write backslashes.
        return self.photos / self.images[key].file_name.replace("\\", "/")

    def origin(self, key):
        """See `Source`."""
        return self._path(key), ""

    def image_bytes(self, key):
        """See `Source`."""
        return self.read_file(self._path(key))

    def annotated_sizes(self, key, orientation):
        """See `Source`."""
        image = self.images[key]
        if image.height is not None:
            return {(image.height, image.width)}
        parts = (self.annotations[one].segmentation for ref in self.refs.get(key, ()) for one in ref.annotations)
        return {size for part in parts if (size := size_of_runs(part))}

    def frame(self, key, height, width, orientation):
        """See `Source`; annotations that are in neither frame are refused."""
        image, turned = self.images[key], upright_size(height, width, orientation)
        if image.mixed_frames and turned != (height, width) == (image.height, image.width):
            raise PhotoError(
                "size_mismatches",
                f"{self.place(key)}: turned by EXIF: Label Studio's COCO export mixes its stored and upright pixels; "
                "take the JSON export, see docs/labelling-tools.md",
            )
        return super().frame(key, height, width, orientation)

    def object_digests(self, key, digest):
        """See `Source`."""
        found, image = {}, self.images[key]
        for ref in self.refs[key]:
            of_split = found.setdefault(ref.split, hashlib.sha256())
            of_split.update(
                repr((self.ref_prefix, ref.ref_id, self.name, ref.expressions, image.height, image.width)).encode()
            )
            for one in (self.annotations[annotation] for annotation in ref.annotations):
                of_split.update(repr((one.box, one.category, one.findings)).encode())
                parts = one.segmentation if isinstance(one.segmentation, list) else [one.segmentation]
                for part in parts:
                    of_split.update(part.tobytes() if isinstance(part, array) else repr(part).encode())
                    of_split.update(b";")
        return {split: one.hexdigest() for split, one in found.items()}

    def annotated(self, key):
        """See `Source`."""
        return self._single_objects(key, frozenset())

    def _single_objects(self, key, without):
        """`(category, box)` of the single objects of a photo, those of some ids left out."""
        if self._by_photo is None:
            self._by_photo = {}
            for one, annotation in self.annotations.items():
                self._by_photo.setdefault(self.same_photo(annotation.image_id), []).append(one)
        ids = [one for one in self._by_photo.get(self.same_photo(key), ()) if one not in without]
        items = [self.annotations[one] for one in ids if not self.is_crowd(one)]
        return tuple((item.category, item.box) for item in items)

    def same_photo(self, image_id):
        """What is the same for several ids of one photo."""
        return image_id

    def is_crowd(self, key):
        """Whether an annotation is a region of several objects."""
        return self.annotations[key].crowd

    def read(self, key):
        """Rasterises the annotations of a photo, each once; see `Source`."""
        content = self.image_bytes(key)
        described = describe_photo(content, self.place(key))
        frame = self.frame(key, *described)
        masks = {}
        objects = tuple(self._object(ref, masks, frame.height, frame.width) for ref in self.refs[key])
        return Photo(
            self.photo_id(key),
            content,
            frame.height,
            frame.width,
            objects,
            frame.orientation,
            photo_findings(described[2], frame),
            self._single_objects(key, {ref.annotations[0] for ref in self.refs[key] if len(ref.annotations) == 1}),
        )

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
            ref_id=self.ref_prefix + ref.ref_id,
            dataset=self.name,
            split=ref.split,
            expressions=ref.expressions,
            mask=mask,
            box=box,
            category=" and ".join(dict.fromkeys(annotation.category for annotation in found if annotation.category)),
            findings=tuple(dict.fromkeys(kind for annotation in found for kind in annotation.findings)),
            several=len(found) > 1,
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


def photo_findings(orientation, frame):
    """Findings of `Photo` from its EXIF code and the frame that was chosen."""
    turned = "turned_photos" if frame.orientation != 1 else "stored_photos" if orientation != 1 else None
    return tuple(filter(None, (turned, "frame_by_size" if frame.by_size else None)))
