"""One scene, stored in all the ways in which EXIF can say that it is to be turned."""

import io

import numpy as np
from PIL import Image

CODES = tuple(range(1, 9))
KINDS = ("PNG", "JPEG")
# What a camera does to the scene, so that EXIF's turn gives it back: the turns by 90 degrees undo each other.
_STORED = {
    1: lambda scene: scene,
    2: lambda scene: scene[:, ::-1],
    3: lambda scene: scene[::-1, ::-1],
    4: lambda scene: scene[::-1],
    5: lambda scene: scene.swapaxes(0, 1),
    6: lambda scene: np.rot90(scene),
    7: lambda scene: scene[::-1, ::-1].swapaxes(0, 1),
    8: lambda scene: np.rot90(scene, -1),
}


def flat_scene(height, width, seed=0):
    """uint8 `(height, width, 3)` of grey cells of 8 x 8, which JPEG keeps alike however they are turned."""
    cells = np.random.default_rng(seed).integers(0, 256, (-(-height // 8), -(-width // 8), 1), "uint8")
    return cells.repeat(8, axis=0).repeat(8, axis=1).repeat(3, axis=2)[:height, :width]


def stored(scene, code):
    """Pixels, or a mask, that the turn `code` makes `scene` of."""
    return np.ascontiguousarray(_STORED[code](scene))


def turned_photo(scene, code, kind="PNG"):
    """Bytes of a photo that shows `scene` once its EXIF orientation `code` is applied."""
    exif = Image.Exif()
    exif[0x0112] = code
    file = io.BytesIO()
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    Image.fromarray(stored(scene, code)).save(file, kind, exif=exif, **options)
    return file.getvalue()
