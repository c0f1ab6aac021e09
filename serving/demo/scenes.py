"""Drawn scenes to begin with: nobody has to look for a photo first."""

import io

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["SCENES", "draw_scene"]

_SIZE = (640, 480)
_CLOUDS = (6, 8)  # rows and columns of the ground's shades, between which it is smooth
_RED, _BLUE, _GREEN, _YELLOW = (214, 48, 49), (9, 102, 205), (0, 148, 91), (247, 190, 20)

SCENES = (
    (
        (
            ("circle", _RED, (60, 90, 220, 250)),
            ("square", _BLUE, (390, 70, 570, 250)),
            ("circle", _RED, (330, 300, 450, 420)),
        ),
        ("the left circle", "the blue square"),
    ),
    (
        (
            ("triangle", _GREEN, (70, 60, 250, 220)),
            ("triangle", _YELLOW, (360, 240, 580, 440)),
            ("square", _RED, (90, 290, 230, 430)),
        ),
        ("the yellow triangle", "the square"),
    ),
    (
        (
            ("square", _GREEN, (50, 50, 170, 170)),
            ("square", _GREEN, (420, 260, 580, 420)),
            ("circle", _BLUE, (240, 130, 400, 290)),
        ),
        ("the right green square",),
    ),
)
"""Shapes (kind, colour, box in pixels) and what may be asked of them."""


def draw_scene(shapes):
    """Draws shapes on clouded grey; returns the bytes of a PNG file."""
    # A model that was trained on drawn scenes has seen no plain ground, and takes one for an object.
    shades = np.random.default_rng(0).integers(70, 150, _CLOUDS, dtype=np.uint8)
    # Drawn larger and made smaller: Pillow's own edges are stairs.
    size = 2 * _SIZE[0], 2 * _SIZE[1]
    picture = Image.fromarray(shades).resize(size, Image.Resampling.BICUBIC).convert("RGB")
    draw = ImageDraw.Draw(picture)
    for kind, color, box in shapes:
        x0, y0, x1, y1 = (2 * side for side in box)
        if kind == "circle":
            draw.ellipse((x0, y0, x1, y1), color)
        elif kind == "square":
            draw.rectangle((x0, y0, x1, y1), color)
        else:
            draw.polygon((((x0 + x1) / 2, y0), (x1, y1), (x0, y1)), color)
    file = io.BytesIO()
    picture.resize(_SIZE, Image.Resampling.LANCZOS).save(file, "PNG")
    return file.getvalue()
