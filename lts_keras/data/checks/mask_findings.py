"""Masks that are probably not what was meant: of the whole photo, or of all but the object."""

import numpy as np

from lts_keras.data.prepare.masks import tight_box

__all__ = ["box_fits", "mask_findings"]

_WHOLE = 0.95
"""Share of the photo above which a mask says little."""
_LEAST_BORDER = 0.75
_LEAST_FILL = 0.25
_LEAST_SIDE = 4


def mask_findings(photo, item):
    """Looks at one mask beside its box and its photo.

    Findings:

     - `whole_photo_masks`: the mask covers more than 95 % of the photo.
     - `inverted_masks`: the box that came with the mask does not fit it, but fits the pixels outside it (a box of the
       whole photo tells nothing, as what lies outside a mask mostly reaches as far). Or, whatever
       the box, the mask covers more than half of the photo, its four corners and three quarters of its border, and
       what it leaves out is one compact thing: four pixels a side and a quarter of its own box at least, without an
       empty row or column in it. Of 3,397 masks of COCO none is like that, of the same masks inverted nine in ten.

    Args:
        photo: `Photo`, of which the size counts.
        item: `ReferredObject`. Where its box was made of its mask, it fits, and says nothing.

    Returns:
        List of `(kind, words)`, none for an object without mask or target.
    """
    mask = item.mask
    covered = 0 if mask is None else np.count_nonzero(mask)
    if not covered or item.box is None:
        return []
    found, share = [], covered / (photo.height * photo.width)
    if share > _WHOLE:
        found.append(("whole_photo_masks", f"the mask covers {share:.1%} of the photo"))
    inside = tight_box(mask)
    if not box_fits(inside, item.box):
        outside = tight_box(~mask)
        whole = (0, 0, photo.width, photo.height)
        if outside and box_fits(outside, item.box) and not box_fits(whole, item.box):
            words = f"the pixels outside the mask lie in its box, {_text(item.box)}; those inside in {_text(inside)}"
            return [*found, ("inverted_masks", words)]
    if share > 0.5 and _leaves_one_thing_out(mask):
        words = f"the mask covers {share:.1%} of the photo, border included, and leaves one thing out, in "
        found.append(("inverted_masks", words + _text(tight_box(~mask))))
    return found


def box_fits(tight, stated):
    """Whether a stated box is that of a mask: two pixels and a twentieth of the side are let pass.

    COCO's boxes lie within a pixel of their masks.

    Args:
        tight, stated: `(x0, y0, x1, y1)`, the far side exclusive.
    """
    allowed = (2 + 0.05 * (tight[2] - tight[0]), 2 + 0.05 * (tight[3] - tight[1])) * 2
    return all(abs(a - b) <= most for a, b, most in zip(tight, stated, allowed, strict=True))


def _leaves_one_thing_out(mask):
    corners = mask[0, 0] and mask[0, -1] and mask[-1, 0] and mask[-1, -1]
    if not corners:
        return False
    border = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    if np.count_nonzero(border) < _LEAST_BORDER * border.size:
        return False
    left_out = ~mask
    rows, columns = left_out.any(1), left_out.any(0)
    height, width = np.count_nonzero(rows), np.count_nonzero(columns)
    if min(height, width) < _LEAST_SIDE:
        return False
    whole = height == np.ptp(np.flatnonzero(rows)) + 1 and width == np.ptp(np.flatnonzero(columns)) + 1
    return whole and np.count_nonzero(left_out) >= _LEAST_FILL * height * width


def _text(box):
    return ", ".join(f"{side:g}" for side in box)
