"""How drawn scenes look: which shapes, where, how large, over what background."""

import dataclasses
import io
import math

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["COLORS", "Look", "Shape", "draw_shapes", "encode"]

COLORS = {
    "red": (218, 30, 36),
    "green": (34, 168, 62),
    "blue": (38, 76, 226),
    "yellow": (246, 218, 36),
    "purple": (154, 44, 190),
    "white": (244, 244, 244),
}
SIZES = {"small": (0.24, 0.29), "": (0.31, 0.38), "large": (0.42, 0.52)}
"""Diameter as a share of the photo's mean side; the gaps keep "small" and "large" beyond doubt."""
_DISCS = {"circle": (), "ring": (0.5,), "moon": (0.75, 0.5)}
"""Kinds made of a disc, and the disc that is cut out of it: its share of the radius and how far it stands aside."""


class Shape:
    """One drawn shape.

    Attributes:
        kind, color, size: a word of `Look.kinds`, of `COLORS` and of `SIZES`.
        x, y: centre in pixels.
        radius: half the diameter in pixels.
        mask: bool `(height, width)`, the visible part.
        visible: share of the shape that is visible.
    """

    def __init__(self, kind, color, size, x, y, radius):
        self.kind, self.color, self.size = kind, color, size
        self.x, self.y, self.radius = x, y, radius
        self.mask, self.visible = None, 1.0


@dataclasses.dataclass(frozen=True)
class Look:
    """What scenes are made of; see `ScenesSource` of `lts_keras.config.data_schema`, whose keys these are."""

    max_shapes: int = 5
    kinds: tuple = ("circle", "square", "triangle", "star", "cross")
    scale: tuple = (1.0, 1.0)
    rivals: float = 0.0
    overlap: float = 0.38
    clutter: int = 0


def draw_shapes(rng, size, look):
    """Places the shapes of one scene and finds what is visible of each.

    Args:
        rng: `numpy.random.Generator`.
        size: (height, width) in pixels.
        look: `Look`.

    Returns:
        list of `Shape` from back to front, two or more.
    """
    count = int(rng.integers(2, look.max_shapes + 1))
    # Nothing is drawn from the generator for what is switched off, so that older scenes stay what they were.
    scale = rng.uniform(*look.scale) if look.scale[0] < look.scale[1] else look.scale[0]
    shapes = _place_shapes(rng, *size, count, scale, look)
    _rasterize(shapes, *size)
    return shapes


def _place_shapes(rng, height, width, count, scale, look):
    """Shapes from back to front; places where one would cover most of another are drawn again."""
    colors, sizes = list(COLORS), list(SIZES)
    mean_side = math.sqrt(height * width)
    shapes = []
    for _ in range(count * 8):
        kind, color, size = (names[rng.integers(len(names))] for names in (look.kinds, colors, sizes))
        rival = bool(shapes) and look.rivals > 0 and rng.random() < look.rivals
        if rival:
            other = shapes[rng.integers(len(shapes))]
            kind, color = other.kind, other.color if rng.random() < 0.5 else color
        radius = rng.uniform(*SIZES[size]) * scale * mean_side / 2
        x, y = (rng.uniform(0.85 * radius, side - 0.85 * radius) for side in (width, height))
        near = (math.hypot(x - other.x, y - other.y) / (radius + other.radius) for other in shapes)
        # Twins (same kind, colour and size) leave few words to tell them apart.
        twins = any((kind, color) == (other.kind, other.color) for other in shapes) and rng.random() < 0.5
        if min(near, default=1.0) > 1 - look.overlap and (rival or not twins):
            shapes.append(Shape(kind, color, size, x, y, radius))
        if len(shapes) == count:
            break
    return shapes if len(shapes) > 1 else _place_shapes(rng, height, width, count, scale, look)


def _outline(shape, rng):
    """Corners of a shape in pixels; a circle has none."""
    turn = rng.uniform(-0.25, 0.25)
    if shape.kind == "square":
        ring = [(1.0, turn + math.pi / 4 + quarter * math.pi / 2) for quarter in range(4)]
    elif shape.kind == "triangle":
        ring = [(1.0, turn - math.pi / 2 + third * 2 * math.pi / 3) for third in range(3)]
    elif shape.kind == "arrow":
        ring = [(1.0, turn), (0.92, turn + 1.9), (0.45, turn + 2.1), (1.0, turn + 2.85)]
        ring += [(1.0, turn - 2.85), (0.45, turn - 2.1), (0.92, turn - 1.9)]
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
        if shape.kind in _DISCS:
            draw.ellipse(_disc(shape, 0.92), fill=1)
            if _DISCS[shape.kind]:
                draw.ellipse(_disc(shape, *_DISCS[shape.kind]), fill=0)
        else:
            # The turn comes from the place, so that the outline needs no further draw from the scene's generator.
            turns = np.random.default_rng([int(shape.x * 64), int(shape.y * 64)])
            draw.polygon(_outline(shape, turns), fill=1)
        whole = np.asarray(picture)
        shape.mask = whole & ~hidden
        shape.visible = shape.mask.sum() / max(whole.sum(), 1)
        hidden |= whole


def _disc(shape, share, aside=0.0):
    """Corners of the box around a disc of a share of the radius, so many radii beside the centre."""
    r, x = shape.radius * share, shape.x + shape.radius * aside
    return x - r, shape.y - r, x + r, shape.y + r


def encode(rng, shapes, size, look):
    """Draws textured background, clutter, shaded shapes and a little noise.

    Args:
        rng: `numpy.random.Generator`.
        shapes: list of `Shape`, as `draw_shapes` gives it.
        size: (height, width) in pixels.
        look: `Look`.

    Returns:
        bytes, a JPEG.
    """
    height, width = size
    coarse = rng.normal(0, 26, (int(rng.integers(3, 9)), int(rng.integers(3, 9)))).astype("float32")
    texture = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    pixels = rng.uniform(70, 150) + rng.uniform(-12, 12, 3)[None, None, :] + texture[:, :, None]
    pixels = pixels.astype("float32")
    for _ in range(look.clutter):
        _scratch(rng, pixels)
    slope = np.linspace(-1, 1, width, dtype="float32")[None, :] * np.float32(rng.uniform(-14, 14))
    for shape in shapes:
        shade = (slope + texture * np.float32(0.25))[shape.mask]
        pixels[shape.mask] = np.asarray(COLORS[shape.color]) + rng.uniform(-14, 14, 3) + shade[:, None]
    pixels += rng.normal(0, 5, (height, width, 1)).astype("float32")
    buffer = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype("uint8")).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _scratch(rng, pixels):
    """A line in the colour of some shape, too thin to be one."""
    height, width = pixels.shape[:2]
    picture = Image.new("1", (width, height))
    ends = [float(rng.uniform(0, side)) for side in (width, height, width, height)]
    ImageDraw.Draw(picture).line(ends, fill=1, width=max(1, round(0.02 * math.sqrt(height * width))))
    pixels[np.asarray(picture)] = list(COLORS.values())[rng.integers(len(COLORS))]
