"""Drawn scenes: the data that comes with the library, the same bytes for the same seed."""

import hashlib
import io
import math

import numpy as np
from PIL import Image, ImageDraw

from lts_keras.data.prepare.masks import tight_box
from lts_keras.data.schema import DataError, Photo, ReferredObject
from lts_keras.data.sources.base import Entry, Fingerprint, Source
from lts_keras.data.sources.scene_text import describe

__all__ = ["ScenesSource", "Shape", "draw_scene"]

COLORS = {
    "red": (218, 30, 36),
    "green": (34, 168, 62),
    "blue": (38, 76, 226),
    "yellow": (246, 218, 36),
    "purple": (154, 44, 190),
    "white": (244, 244, 244),
}
KINDS = ("circle", "square", "triangle", "star", "cross")
SIZES = {"small": (0.24, 0.29), "": (0.31, 0.38), "large": (0.42, 0.52)}
"""Diameter as a share of the photo's mean side; the gaps keep "small" and "large" beyond doubt."""
_MIN_VISIBLE = 0.6
"""Shapes that are hidden further are not referred to."""
_MOST_REFERRED = 4
_SMALLEST_SIDE = 32
_DRAWING = 1
"""Version of how scenes look and read; raised with every change, so that prepared data is known to be old."""


class Shape:
    """One drawn shape.

    Attributes:
        kind, color, size: words of `KINDS`, `COLORS` and `SIZES`.
        x, y: centre in pixels.
        radius: half the diameter in pixels.
        mask: bool `(height, width)`, the visible part.
        visible: share of the shape that is visible.
    """

    def __init__(self, kind, color, size, x, y, radius):
        self.kind, self.color, self.size = kind, color, size
        self.x, self.y, self.radius = x, y, radius
        self.mask, self.visible = None, 1.0


class ScenesSource(Source):
    """Photos drawn on demand from (seed, split, number): nothing is stored and each is drawn alone.

    How many objects a photo has is known once it is drawn, so `num_objects` is `None`; none is left out before.
    """

    def __init__(self, config, root):
        super().__init__(config, root)
        self.num_objects = None
        if not _SMALLEST_SIDE <= config.photo_size[0] <= config.photo_size[1]:
            raise DataError(
                f"{self.name}: photo_size is the smallest and the largest side, from {_SMALLEST_SIDE} pixels on. "
                f"Received: {list(config.photo_size)}"
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
        content, shapes, texts, others = draw_scene(rng, size, self.config.max_shapes, split)
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
        # The name of the split enters by its letters: Python's own hash differs from run to run.
        return np.random.default_rng([self.config.seed, int(number), *split.encode()]), facts


def _digest(facts):
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def draw_scene(rng, size, max_shapes, split):
    """Draws one scene and finds expressions for its shapes.

    Args:
        rng: `numpy.random.Generator`.
        size: (height, width) in pixels.
        max_shapes: most shapes in the scene; the fewest are 2.
        split: `"testA"` has expressions by appearance alone, `"testB"` by relation alone, others all kinds.

    Returns:
        (JPEG bytes, list of referred `Shape`, list of their expressions, list of the other shapes that can be seen), at
        least one referred shape.
    """
    while True:
        shapes = _place_shapes(rng, *size, int(rng.integers(2, max_shapes + 1)))
        _rasterize(shapes, *size)
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
            return _encode(rng, shapes, *size), referred, texts, others


def _draw_size(rng, limits):
    height, width = rng.integers(limits[0], limits[1] + 1, 2)
    return int(height), int(width)


def _place_shapes(rng, height, width, count):
    """Shapes from back to front; places where one would cover most of another are drawn again."""
    mean_side = math.sqrt(height * width)
    shapes = []
    for _ in range(count * 8):
        kind, color, size = KINDS[rng.integers(5)], list(COLORS)[rng.integers(6)], list(SIZES)[rng.integers(3)]
        radius = rng.uniform(*SIZES[size]) * mean_side / 2
        x, y = (rng.uniform(0.85 * radius, side - 0.85 * radius) for side in (width, height))
        near = (math.hypot(x - other.x, y - other.y) / (radius + other.radius) for other in shapes)
        # Twins (same kind, colour and size) leave few words to tell them apart.
        twins = any((kind, color) == (other.kind, other.color) for other in shapes) and rng.random() < 0.5
        if min(near, default=1.0) > 0.62 and not twins:
            shapes.append(Shape(kind, color, size, x, y, radius))
        if len(shapes) == count:
            break
    return shapes if len(shapes) > 1 else _place_shapes(rng, height, width, count)


def _outline(shape, rng):
    """Corners of a shape in pixels; a circle has none."""
    turn = rng.uniform(-0.25, 0.25)
    if shape.kind == "square":
        ring = [(1.0, turn + math.pi / 4 + quarter * math.pi / 2) for quarter in range(4)]
    elif shape.kind == "triangle":
        ring = [(1.0, turn - math.pi / 2 + third * 2 * math.pi / 3) for third in range(3)]
    elif shape.kind == "star":
        ring = [(1.0 if step % 2 == 0 else 0.48, turn - math.pi / 2 + step * math.pi / 5) for step in range(10)]
    else:
        arm, inner = math.atan2(0.36, 1.0), 0.36 * math.sqrt(2)
        ring = []
        for quarter in range(4):
            angle = turn + quarter * math.pi / 2
            ring += [(1.0, angle - arm), (1.0, angle + arm), (inner, angle + math.pi / 4)]
    return [(shape.x + shape.radius * r * math.cos(a), shape.y + shape.radius * r * math.sin(a)) for r, a in ring]


def _rasterize(shapes, height, width):
    """Fills `mask` with the visible part of each shape and `visible` with its share."""
    hidden = np.zeros((height, width), bool)
    for shape in reversed(shapes):
        picture = Image.new("1", (width, height))
        draw = ImageDraw.Draw(picture)
        if shape.kind == "circle":
            r = shape.radius * 0.92
            draw.ellipse((shape.x - r, shape.y - r, shape.x + r, shape.y + r), fill=1)
        else:
            # The turn comes from the place, so that the outline needs no further draw from the scene's generator.
            turns = np.random.default_rng([int(shape.x * 64), int(shape.y * 64)])
            draw.polygon(_outline(shape, turns), fill=1)
        whole = np.asarray(picture)
        shape.mask = whole & ~hidden
        shape.visible = shape.mask.sum() / max(whole.sum(), 1)
        hidden |= whole


def _encode(rng, shapes, height, width):
    """Textured background, shaded shapes, a little noise, as JPEG."""
    coarse = rng.normal(0, 26, (int(rng.integers(3, 9)), int(rng.integers(3, 9)))).astype("float32")
    texture = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    pixels = rng.uniform(70, 150) + rng.uniform(-12, 12, 3)[None, None, :] + texture[:, :, None]
    pixels = pixels.astype("float32")
    slope = np.linspace(-1, 1, width, dtype="float32")[None, :] * np.float32(rng.uniform(-14, 14))
    for shape in shapes:
        shade = (slope + texture * np.float32(0.25))[shape.mask]
        pixels[shape.mask] = np.asarray(COLORS[shape.color]) + rng.uniform(-14, 14, 3) + shade[:, None]
    pixels += rng.normal(0, 5, (height, width, 1)).astype("float32")
    buffer = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype("uint8")).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
