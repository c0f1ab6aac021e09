"""Drawn scenes: the data that comes with the library, the same bytes for the same seed."""

import dataclasses
import hashlib

import numpy as np

from lts_keras.data.prepare.masks import tight_box
from lts_keras.data.schema import DataError, Photo, ReferredObject
from lts_keras.data.sources.base import Entry, Fingerprint, Source
from lts_keras.data.sources.scene_drawing import Look, draw_shapes, encode
from lts_keras.data.sources.scene_text import describe

__all__ = ["ScenesSource", "draw_scene"]

_MIN_VISIBLE = 0.6
"""Shapes that are hidden further are not referred to."""
_MOST_REFERRED = 4
_SMALLEST_SIDE = 32
_DRAWING = 1
"""Version of how scenes look and read; raised with every change, so that prepared data is known to be old."""


class ScenesSource(Source):
    """Photos drawn on demand from (seed, split, number): nothing is stored and each is drawn alone.

    How many objects a photo has is known once it is drawn, so `num_objects` is `None`; none is left out before.
    """

    def __init__(self, config, root):
        super().__init__(config, root)
        self.num_objects = None
        self.look = Look(**{field.name: getattr(config, field.name) for field in dataclasses.fields(Look)})
        if not _SMALLEST_SIDE <= config.photo_size[0] <= config.photo_size[1]:
            raise DataError(
                f"{self.name}: photo_size is the smallest and the largest side, from {_SMALLEST_SIDE} pixels on. "
                f"Received: {list(config.photo_size)}"
            )
        if config.photo_size[0] * config.scale[0] < _SMALLEST_SIDE:
            raise DataError(
                f"{self.name}: scale {list(config.scale)} makes the shapes of photos of {config.photo_size[0]} pixels "
                f"too small to draw; photo_size[0] * scale[0] must be {_SMALLEST_SIDE} or more"
            )

    def entries(self):
        """Returns the entries of all splits; see `Source`."""
        return [
            Entry(
                f"{split}/{number}",
                self._photo_id(split, number),
                frozenset([self._split_of(split, number)]),
                0,
            )
            for split, count in sorted(self.config.num_photos.items())
            if self.split(split)
            for number in range(count)
        ]

    def image_bytes(self, key):
        """See `Source`."""
        return self.read(key).image_bytes

    def fingerprint(self, key):
        """Fingerprint of what decides the drawing, so that a photo is drawn once; see `Source`."""
        rng, facts = self._start(key)
        return Fingerprint(_digest(facts), *_draw_size(rng, self.config.photo_size), 1)

    def object_digests(self, key, digest):
        """See `Source`."""
        facts = (self._start(key)[1], self.name, self.ref_prefix)
        split, number = key.split("/")
        return {self._split_of(split, number): _digest(facts)}

    def read(self, key):
        """Draws a scene; see `Source`."""
        split, number = key.split("/")
        rng, _ = self._start(key)
        size = _draw_size(rng, self.config.photo_size)
        content, shapes, texts, others = draw_scene(rng, size, self.look, split)
        objects = [
            ReferredObject(
                ref_id=f"{self.ref_prefix}{split}-{number}-{index}",
                dataset=self.name,
                split=self._split_of(split, number),
                expressions=tuple(text),
                mask=shape.mask,
                box=tight_box(shape.mask),
                category=shape.kind,
            )
            for index, (shape, text) in enumerate(zip(shapes, texts, strict=True))
        ]
        others = tuple((shape.kind, tight_box(shape.mask)) for shape in others)
        return Photo(self._photo_id(split, number), content, size[0], size[1], tuple(objects), others=others)

    def _split_of(self, split, number):
        return self.split(split, photo=self._photo_id(split, number))

    def _photo_id(self, split, number):
        # Scenes of another section of the same name are other ones.
        return f"{self.name}:{self.ref_prefix}{split}-{int(number):05d}"

    def _start(self, key):
        split, number = key.split("/")
        facts = (_DRAWING, self.config.seed, split, int(number), self.config.photo_size, self.config.max_shapes)
        if self.look != Look(self.look.max_shapes):  # what has its default leaves a scene the one that it was
            facts += (self.look,)
        # The name of the split enters by its letters: Python's own hash differs from run to run.
        return np.random.default_rng([self.config.seed, int(number), *split.encode()]), facts


def _digest(facts):
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def draw_scene(rng, size, look, split):
    """Draws one scene and finds expressions for its shapes.

    Args:
        rng: `numpy.random.Generator`.
        size: (height, width) in pixels.
        look: `Look`.
        split: `"testA"` has expressions by appearance alone, `"testB"` by relation alone, others all kinds.

    Returns:
        (JPEG bytes, list of referred shapes, list of their expressions, list of the other shapes that can be seen), at
        least one referred shape.
    """
    while True:
        shapes = draw_shapes(rng, size, look)
        referred, texts = [], []
        for index in rng.permutation(len(shapes)):
            shape = shapes[index]
            if shape.visible >= _MIN_VISIBLE and len(referred) < _MOST_REFERRED:
                text = describe(rng, shape, shapes, size, split)
                if text:
                    referred.append(shape)
                    texts.append(text)
        if referred:
            others = [shape for shape in shapes if shape not in referred and shape.mask.any()]
            return encode(rng, shapes, size, look), referred, texts, others


def _draw_size(rng, limits):
    height, width = rng.integers(limits[0], limits[1] + 1, 2)
    return int(height), int(width)
