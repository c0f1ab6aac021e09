"""What the values of a picture say about which pixels are inside a mask: one rule for each kind of picture."""

import numpy as np

__all__ = ["mask_from_alpha", "mask_from_indices", "mask_from_values"]

_BORDER = 255
"""Index that PASCAL VOC paints round its objects: neither object nor ground."""
_FEWEST = 3
"""Different values of a rim, or of noise at either end."""


def mask_from_alpha(alpha):
    """Cuts transparency at half of its largest value.

    Args:
        alpha: unsigned integer array `(height, width)`.

    Returns:
        Tuple of a bool array of the same shape and whether there are values between, or `None` where transparency
        says nothing: its smallest value is at least half of the largest, as where it is the same everywhere.
    """
    least, most = int(alpha.min()), int(alpha.max())
    if 2 * least >= most:
        return None
    between = (alpha > most / 16) & (alpha < most * 15 / 16)
    return alpha >= most / 2, bool(between.any())


def mask_from_indices(indices):
    """Takes every index of a palette but 0; 255 too is outside where there are others, as in PASCAL VOC.

    Args:
        indices: uint8 array `(height, width)`.

    Returns:
        Bool array of the same shape.
    """
    inside = indices > 0
    border = indices == _BORDER
    return inside & ~border if np.any(inside & ~border) else inside


def mask_from_values(values):
    """Takes everything above zero, or what is above half where the values are those of a soft mask.

    Labels fill areas and have hard edges; the values of a soft mask do not. A mask is soft where all is dark or light
    (up to a sixteenth from either end of its type; sixteen bits whose values end at 255 count as eight) but for a
    quarter of its pixels at most, where the values beside the commonest dark and the commonest light one form hardly
    any area (one in eight of their pixels at most has the same value all around), and where there are three or more

     - between dark and light: a rim. Dark stands beside light at half as many places at most as the rim has pixels.
     - or among the dark and among the light each: the noise that a picture keeps which once was a JPEG.

    Args:
        values: unsigned integer array `(height, width)`.

    Returns:
        Tuple of a bool array of the same shape and whether the mask is soft.
    """
    top = 255 if values.max() <= 255 else 65535
    return (values >= top / 2, True) if _is_soft(values, top) else (values > 0, False)


def _is_soft(values, top):
    counts = np.bincount(values.ravel())
    levels = np.flatnonzero(counts)
    dark, light = levels[levels <= top / 16], levels[levels >= top * 15 / 16]
    num_between = len(levels) - len(dark) - len(light)
    noisy = min(len(dark), len(light)) > _FEWEST
    if not len(dark) or not len(light) or not (noisy or num_between >= _FEWEST):
        return False
    ground, object_ = values <= dark[-1], values >= light[0]
    num_rim = values.size - np.count_nonzero(ground) - np.count_nonzero(object_)
    if num_rim > values.size / 4:
        return False
    others = (values != dark[np.argmax(counts[dark])]) & (values != light[np.argmax(counts[light])])
    if 8 * np.count_nonzero(_amid_its_own(values) & others[1:-1, 1:-1]) > np.count_nonzero(others):
        return False
    return noisy or 2 * _touching(ground, object_) <= num_rim


def _amid_its_own(values):
    """Bool array `(height - 2, width - 2)`: whether all eight neighbours of a pixel have its value."""
    across = (values[:, :-2] == values[:, 1:-1]) & (values[:, 1:-1] == values[:, 2:])
    down = (values[:-2] == values[1:-1]) & (values[1:-1] == values[2:])
    return across[:-2] & across[1:-1] & across[2:] & down[:, 1:-1]


def _touching(one, other):
    """Number of neighbours, beside and below each other, of which one is in each mask."""
    pairs = ((one[1:], other[:-1]), (one[:-1], other[1:]), (one[:, 1:], other[:, :-1]), (one[:, :-1], other[:, 1:]))
    return sum(np.count_nonzero(a & b) for a, b in pairs)
