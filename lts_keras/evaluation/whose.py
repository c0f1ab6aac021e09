"""Whose mask an answer is: the object that was meant, another one of its class, of another class, or none."""

import numpy as np

__all__ = ["FOUND", "whose_answer"]

FOUND = {
    "right": "right object",
    "rival": "another object of its class",
    "other": "object of another class",
    "background": "background",
    "nothing": "nothing",
}
_LEAST_OVERLAP = 0.1


def whose_answer(mask, box, category, region_boxes, region_categories, several=False):
    """Names the annotated object that an answer overlaps most, by IoU of the mask with the object's filled box.

    Boxes, since not every annotated object has a mask, and all must be judged alike.

    Args:
        mask: bool `(height, width)`, the answer.
        box: float `(4,)` x0, y0, x1, y1 of the object that was meant; `None` where there is no target.
        category: its class; empty for none. Of the type of `region_categories`' items.
        region_boxes: float `(R, 4)`, all annotated objects of the photo.
        region_categories: sequence of R classes.
        several: whether several objects are meant, `box` the one around them and `category` their classes joined by
            " and ". Which ones they are the record does not say: each within the box and of their class counts as one.

    Returns:
        A key of `FOUND`: `nothing` for an empty answer, `background` where no overlap reaches 0.1.
    """
    area = np.count_nonzero(mask)
    if not area:
        return "nothing"
    best, found = _LEAST_OVERLAP, "background"
    if box is not None:
        best, found = max((best, found), (_overlap(mask, area, box), "right"))
    for one, its_category in zip(region_boxes, region_categories, strict=True):
        overlap = _overlap(mask, area, one)
        # The object itself is among them; at equal overlap the answer is right.
        if overlap > best + 1e-9:
            best = overlap
            if several and _is_meant(one, its_category, box, category):
                found = "right"
            else:
                found = "rival" if box is not None and category and its_category == category else "other"
    return found


def _is_meant(one, its_category, box, category):
    joint = b" and " if isinstance(category, bytes) else " and "
    inside = (one[:2] >= box[:2] - 1).all() and (one[2:] <= box[2:] + 1).all()
    return bool(inside) and its_category in category.split(joint)


def _overlap(mask, area, box):
    height, width = mask.shape
    x0, y0 = np.floor(box[:2]).astype(int).clip(0)
    x1, y1 = np.ceil(box[2:]).astype(int)
    x1, y1 = min(x1, width), min(y1, height)
    inside = np.count_nonzero(mask[y0:y1, x0:x1])
    union = area + max(0, x1 - x0) * max(0, y1 - y0) - inside
    return inside / union
