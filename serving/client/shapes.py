"""Other forms of a mask: COCO's run lengths and polygons along pixel edges. numpy alone."""

import numpy as np

__all__ = ["encode_rle", "outlines", "polygons"]


def encode_rle(mask):
    """A mask as COCO's compressed run-length encoding, byte for byte as `pycocotools.mask.encode` writes it.

    Args:
        mask: bool array `(height, width)`.

    Returns:
        dict: `size`, `[height, width]`; `counts`, str.
    """
    height, width = mask.shape
    flat = np.asarray(mask, bool).ravel(order="F")
    # Lengths of the runs down the columns, the first of zeros, which may be empty.
    changes = np.flatnonzero(np.diff(flat)) + 1
    edges = np.concatenate(([0], changes, [flat.size])) if flat.size else np.zeros(1, np.int64)
    counts = np.diff(edges)
    if flat.size and flat[0]:
        counts = np.concatenate(([0], counts))
    return {"size": [height, width], "counts": _to_characters(counts)}


def _to_characters(counts):
    """Each count as its difference to the one two before, five bits a character, lowest first, the sixth for "more"."""
    rest = counts.astype(np.int64)
    rest[3:] -= counts[1:-2]
    columns, unfinished = [], np.ones(rest.shape, bool)
    while unfinished.any():
        bits = rest & 0x1F
        rest = rest >> 5
        more = unfinished & (rest != np.where(bits & 0x10, -1, 0))
        columns.append(np.where(unfinished, bits + 32 * more + 48, 0))
        unfinished = more
    table = np.stack(columns, axis=1).astype(np.uint8) if columns else np.zeros((0, 0), np.uint8)
    return table[table > 0].tobytes().decode("ascii")


def outlines(mask):
    """The borders of a mask along the edges of its pixels.

    Pixels that touch at a corner alone are not connected. Filled by the even-odd rule, all borders together give the
    mask again, pixel for pixel.

    Args:
        mask: bool array `(height, width)`.

    Returns:
        List of int arrays `(corners, 2)` of x, y, pixel corners from 0 to width and height, without the first corner
        again at the end: outer borders clockwise as seen on a screen, holes the other way round.
    """
    corners, following = _walk(np.asarray(mask, bool))
    found, seen = [], [False] * len(following)
    for first in range(len(following)):
        if seen[first]:
            continue
        run, border = first, []
        while not seen[run]:
            seen[run] = True
            border.append(run)
            run = following[run]
        found.append(corners[border].reshape(-1, 2))
    return found


def polygons(mask):
    """The outer borders of a mask, largest first; what they enclose is filled, holes too.

    Args:
        mask: bool array `(height, width)`.

    Returns:
        List of int arrays, as `outlines`.
    """
    measured = [(_area(border), border) for border in outlines(mask)]
    return [border for area, border in sorted(measured, key=lambda pair: -pair[0]) if area > 0]


def _area(border):
    x, y = border[:, 0], border[:, 1]
    return int(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2


def _walk(mask):
    """Goes around with the mask at the right hand.

    Returns:
        `(corners, following)`: int array `(runs, 2, 2)`, x and y of start and end of each horizontal run of edges, and
        a list with the number of the horizontal run that comes after each.
    """
    padded = np.pad(mask.astype(np.int8), 1)
    # +1: the mask begins below this line, so walk right. -1: it ends here, walk left.
    across = _runs(np.diff(padded, axis=0)[:, 1:-1])
    # +1: the mask begins right of this line, walk up. -1: it ends here, walk down.
    down = _runs(np.diff(padded, axis=1)[1:-1].T)
    sign, line, low, high = across
    horizontal = np.stack([np.where(sign > 0, low, high), line, np.where(sign > 0, high, low), line], axis=1)
    sign, line, low, high = down
    vertical = np.stack([line, np.where(sign > 0, high, low), line, np.where(sign > 0, low, high)], axis=1)
    stride = mask.shape[1] + 1
    goes_right, goes_up = across[0] > 0, down[0] > 0
    # A right turn: from right to down, from left to up, from up to right, from down to left.
    then_down = _match(horizontal, vertical, stride, wanted=~goes_right, offered=goes_up)
    then_across = _match(vertical, horizontal, stride, wanted=goes_up, offered=goes_right)
    return horizontal.reshape(-1, 2, 2), then_across[then_down].tolist()


def _runs(steps):
    """Runs of equal nonzero steps in each row: arrays of their sign, row, first and one past the last column."""
    padded = np.pad(steps, ((0, 0), (1, 1)))
    changed = padded[:, 1:] != padded[:, :-1]
    rows, begins = np.nonzero(changed & (padded[:, 1:] != 0))
    _, ends = np.nonzero(changed & (padded[:, :-1] != 0))
    return steps[rows, begins], rows, begins, ends


def _match(comers, goers, stride, wanted, offered):
    """For each run, the one that goes on where it ends; where two do (pixels touch at a corner), the right turn."""
    starts = goers[:, 1] * stride + goers[:, 0]
    order = np.lexsort((offered, starts))
    ends = comers[:, 3] * stride + comers[:, 2]
    first = np.searchsorted(starts[order], ends, "left")
    two = np.searchsorted(starts[order], ends, "right") - first == 2
    return order[first + (two & wanted)]
