"""Drawn scenes to begin with: nobody has to look for a photo first."""

import io

from PIL import Image, ImageDraw

__all__ = ["SCENES", "draw_scene"]

_SIZE = (640, 480)
_BACKGROUND = (226, 232, 240)
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
    """Draws shapes on a plain ground; returns the bytes of a PNG file."""
    # Drawn larger and made smaller: Pillow's own edges are stairs.
    picture = Image.new("RGB", (2 * _SIZE[0], 2 * _SIZE[1]), _BACKGROUND)
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
