"""Plain COCO instances with a refs file, with expressions made up from class, size and place, or with both."""

import dataclasses
import math
import os

import numpy as np
from scipy import ndimage

from lts_keras.data.prepare.masks import rasterize
from lts_keras.data.schema import DataError
from lts_keras.data.sources.annotated import AnnotatedSource
from lts_keras.data.sources.annotations import Annotation, Ref, size_of_runs
from lts_keras.data.sources.base import PhotoError, describe_photo
from lts_keras.data.sources.fields import Fields, read_json, short
from lts_keras.data.sources.instances import read_images, read_instances
from lts_keras.data.sources.made_up import is_small, make_up, nouns_of_class

__all__ = ["CocoSource", "has_several_parts"]

_LARGEST_PART = 2 / 3
_MOST_PIXELS = 2**28


class CocoSource(AnnotatedSource):
    """COCO's `instances.json`, a refs file, or both; photos in one folder.

    Refs point to an annotation by `ann_id`; a ref without one has `bbox` (x, y, width, height in pixels of the photo)
    and takes part in the locating loss alone. Made-up refs are called `made:<annotation>`.

    Which annotations are a crowd (`crowd_flags: null`): in COCO's own photos those with `iscrowd: 1`; elsewhere, where
    tools set that flag on every brush mask, those of them whose mask lies in several parts, none of which has two
    thirds of its pixels. All others are one object each.
    """

    def __init__(self, config, root):
        super().__init__(config, root)
        self.photos = self.root / config.photos
        self._files = tuple(self.root / path for path in (config.refs, config.instances) if path)
        if not self._files:
            raise DataError(f"{self.name}: a coco source needs `instances`, `refs` or both. Received: neither")
        self._ref_splits, self._told, self._crowds = {}, [], {}
        if config.instances:
            self.images, self.annotations = read_instances(self.root / config.instances)
        instances = dict(self.annotations)
        if config.refs:
            self._add_refs(self.root / config.refs)
        if config.made_up or not config.refs:
            self._add_made_up(instances if config.instances else dict(self.annotations))

    @property
    def files(self):
        """See `Source`."""
        return self._files

    @property
    def said(self):
        """See `Source`."""
        return (*super().said, *self._told)

    def _add_refs(self, path):
        content = read_json(path)
        if not isinstance(content, dict) or not isinstance(content.get("refs"), list):
            raise DataError(f"{path}: not the layout of refs: expected: an object with a list `refs`")
        if not self.config.instances:
            if not isinstance(content.get("images"), list):
                raise DataError(f"{path}: not the layout of refs: 'images' is missing, and `instances` is not given")
            self.images = read_images(path, content["images"])
        fields = Fields(path, "ref", "refs")
        for index, item in enumerate(content["refs"]):
            self._add_ref(fields.at(index, item), index)

    def _add_ref(self, fields, index):
        ref_id = fields.own_identity("ref_id", index)
        image_id, key = fields.identity("image_id"), fields.identity("ann_id", None)
        if image_id not in self.images:
            raise DataError(f"{fields.path}: ref {ref_id} is of photo {short(image_id)}, which is not listed")
        if key is None:
            # The place in the list tells boxes apart, where two refs have one id.
            key = f"box of ref {ref_id}, refs[{index}]"
            box, category = fields.corner_box("bbox"), fields.text("category_name", "")
            self.annotations[key] = Annotation(image_id, None, box, category)
        sentences = tuple(self._sentence(fields, *one) for one in enumerate(fields.items("sentences")))
        split = fields.text("split", None) or self.images[image_id].split or self.config.split
        self._ref_splits.setdefault(image_id, set()).add(split)
        self.add_ref(image_id, Ref(str(ref_id), split, sentences, (key,)))

    @staticmethod
    def _sentence(fields, number, item):
        key = f"sentences[{number}]"
        if isinstance(item, dict):
            item = item.get("sent")
        if not isinstance(item, str):
            raise fields.error(key, item, "sentences must be text")
        return fields.check_text(key, item)

    def _add_made_up(self, annotated):
        """Adds refs for annotated objects that a sentence fits alone; counts the others by reason."""
        # A photo that is listed under two ids is one photo: what stands under the other id is a rival too.
        by_photo, by_file = {}, {}
        for key, annotation in annotated.items():
            by_photo.setdefault(annotation.image_id, {})[key] = annotation
            by_file.setdefault(self.same_photo(annotation.image_id), {})[key] = annotation
        # Whether flags mean crowds depends on whose photos these are, and that on the photos in use.
        self._is_coco = None if self.refs else self._guess_coco(by_photo)
        flagged = crowds = 0
        for image_id, annotations in by_photo.items():
            split = self._split_of(image_id)
            if not self._wants_made_up(image_id, split, annotations):
                continue
            found = {key: self._with_crowd(key, one) for key, one in annotations.items()}
            flagged += sum(one.crowd for one in annotations.values())
            crowds += sum(one.crowd for one in found.values())
            self._crowds |= {key: one.crowd for key, one in found.items() if annotations[key].crowd}
            self._make_up(image_id, split, found, by_file[self.same_photo(image_id)])
        if flagged:
            self._told = [
                f"{self.name}: {flagged} annotations are flagged as crowds: {crowds} are taken as several objects, "
                f"{flagged - crowds} as one object each (data.sources.crowd_flags)"
            ]
        self._is_coco = None

    def same_photo(self, image_id):
        """See `AnnotatedSource`: the file."""
        return os.path.normpath(self.place(image_id))

    def is_crowd(self, key):
        """See `AnnotatedSource`; what cannot be drawn counts as a crowd, and is said where it is used."""
        annotation = self.annotations[key]
        if not annotation.crowd:
            return False
        if key not in self._crowds:
            try:
                self._crowds[key] = self._with_crowd(key, annotation).crowd
            except DataError:
                self._crowds[key] = True
        return self._crowds[key]

    def _guess_coco(self, by_photo):
        """`is_coco` before any ref is made up: of the photos that have annotations."""
        self.refs = dict.fromkeys(by_photo, ())
        try:
            return self.is_coco
        finally:
            self.refs = {}

    def _wants_made_up(self, image_id, split, annotations):
        """Whether expressions are made up for a split; counts the objects where they are not."""
        # Without a refs file every split needs expressions; beside one, they are extra text for some.
        first = f"{self.files[-1]}: annotation {next(iter(annotations))}"
        renamed = self.split(split, first, image_id)
        if renamed is not None and (not self.config.refs or renamed in self.config.made_up_splits):
            return True
        reason = "dropped split" if renamed is None else "split without made-up sentences"
        self.num_objects += len(annotations)
        self.left_out.add(reason, first, len(annotations))
        return False

    def _make_up(self, image_id, split, annotations, of_file):
        image, options = self.images[image_id], self.config
        try:
            height, width = self._size(image_id)
        except PhotoError as error:
            self.num_objects += len(annotations)
            self.left_out.add("unreadable photo", str(error), len(annotations))
            return
        texts = make_up(of_file | annotations, height, width, options.further_nouns, options.made_up_per_object)
        for key, annotation in annotations.items():
            if key in texts:
                self.add_ref(image_id, Ref(f"made:{key}", split, tuple(texts[key]), (key,)))
                continue
            if annotation.crowd:
                reason = "crowd region"
            elif not nouns_of_class(annotation.category):
                reason = "unknown class"
            elif is_small(annotation.box, height, width):
                reason = "small object"
            else:
                reason = "no sentence fits it alone"
            self.num_objects += 1
            self.left_out.add(reason, f"{self.files[-1]}: annotation {key} of {image.file_name}")

    def _size(self, image_id):
        """Height and width that the annotations of a photo are for; the photo's own where the file has none."""
        image = self.images[image_id]
        if image.height is not None:
            return image.height, image.width
        frame = self.frame(image_id, *describe_photo(self.image_bytes(image_id), self.place(image_id)))
        return frame.height, frame.width

    def _with_crowd(self, key, annotation):
        if not annotation.crowd or self.config.crowd_flags == "crowds":
            return annotation
        if self.config.crowd_flags != "objects":
            if self.is_coco or annotation.segmentation is None:
                return annotation
            try:
                size = size_of_runs(annotation.segmentation) or self._size(annotation.image_id)
                # The size is that of the file: no photo of it may be there, and no memory for it either.
                if math.prod(size) <= _MOST_PIXELS and has_several_parts(rasterize(annotation.segmentation, *size)):
                    return annotation
            except PhotoError:
                return annotation  # left out with its photo
            except DataError as error:
                raise DataError(f"{self.files[-1]}: annotation {key}: {error}") from error
        return dataclasses.replace(annotation, crowd=False)

    def _split_of(self, image_id):
        """Split of a photo in the file's own name: the image's, else that of its refs, held-out ones first."""
        of_refs = sorted(self._ref_splits.get(image_id, ()), key=lambda split: (split == "train", split))
        return self.images[image_id].split or (of_refs[0] if of_refs else self.config.split)


def has_several_parts(mask):
    """Whether a mask lies in several parts, none of which has two thirds of its pixels: several objects."""
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    return count > 1 and np.bincount(parts.ravel())[1:].max() < _LARGEST_PART * mask.sum()
