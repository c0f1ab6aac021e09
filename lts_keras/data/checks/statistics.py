"""What is counted while photos pass: per data set and split, in plain values that JSON holds and that can be added."""

import collections

import numpy as np

from lts_keras.data.prepare.masks import tight_box

__all__ = ["AREA_EDGES", "Statistics", "slice_name"]

AREA_EDGES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Edges of the histogram of object sizes, as shares of the photo."""
MOST_PROBLEMS = 50
"""Messages kept of one kind and shard; all are counted."""
_COUNTS = (
    *("photos", "refs", "expressions", "no_target", "box_only", "empty_masks", "box_disagreements", "boxes_outside"),
    *("empty_expressions", "duplicate_expressions", "ambiguous_expressions"),
)


def slice_name(item):
    """`<dataset>/<split>` of a referred object."""
    return f"{item.dataset}/{item.split}"


class Statistics:
    """Counts of the photos that passed.

    Attributes:
        slices: dict, slice -> dict of counts, `classes`, `areas` (counts between `AREA_EDGES`), `texts`, `ref_ids`.
        problems: list of dicts `kind`, `message`.
        counts: dict, kind of problem -> how many.
    """

    def __init__(self):
        self.slices, self.problems, self.counts = {}, [], collections.Counter()

    def note(self, kind, message):
        """Counts a problem and keeps the first messages of its kind."""
        self.counts[kind] += 1
        if self.counts[kind] <= MOST_PROBLEMS:
            self.problems.append({"kind": kind, "message": message})

    def add(self, photo):
        """Counts the objects of a photo; returns those that are fit for records.

        Args:
            photo: `Photo`.

        Returns:
            Tuple of `ReferredObject`: without those whose mask is empty though they have a target. Blank expressions
            are counted by `blank` before, and are not in the photo any more.
        """
        for name in dict.fromkeys(slice_name(item) for item in photo.objects):
            self._slice(name)["photos"] += 1
        kept = tuple(item for item in photo.objects if self._object(photo, item))
        self._ambiguous(photo, kept)
        return kept

    def blank(self, photo, item):
        """Counts a blank expression of an object."""
        self._slice(slice_name(item))["empty_expressions"] += 1
        self.note(
            "empty_expressions", f"{photo.photo_id}: ref {item.ref_id} of {slice_name(item)} has a blank expression"
        )

    def to_json(self):
        """Plain values, equal for equal photos."""
        return {"slices": self.slices, "problems": self.problems, "counts": dict(self.counts)}

    def _slice(self, name):
        if name not in self.slices:
            empty = {"classes": {}, "areas": [0] * (len(AREA_EDGES) - 1), "texts": [], "ref_ids": []}
            self.slices[name] = dict.fromkeys(_COUNTS, 0) | empty
        return self.slices[name]

    def _object(self, photo, item):
        """Counts one object; returns whether it can be used."""
        name = slice_name(item)
        of_slice, where = self._slice(name), f"{photo.photo_id}: ref {item.ref_id} of {name}"
        if item.box is not None:
            self._outside(photo, item, of_slice, where)
        if item.mask is not None and item.box is not None and not item.mask.any():
            of_slice["empty_masks"] += 1
            self.note("empty_masks", f"{where} has an empty mask and is left out")
            return False
        if item.mask is None:
            of_slice["box_only"] += 1
        elif item.box is None:
            of_slice["no_target"] += 1
        else:
            self._compare_box(item, of_slice, where)
        of_slice["refs"] += 1
        of_slice["expressions"] += len(item.expressions)
        of_slice["duplicate_expressions"] += len(item.expressions) - len(set(item.expressions))
        of_slice["texts"] += item.expressions
        of_slice["ref_ids"].append(item.ref_id)
        of_slice["classes"][item.category] = of_slice["classes"].get(item.category, 0) + 1
        of_slice["areas"][_area_bin(photo, item)] += 1
        return True

    def _outside(self, photo, item, of_slice, where):
        x0, y0, x1, y1 = item.box
        if x0 < -1 or y0 < -1 or x1 > photo.width + 1 or y1 > photo.height + 1:
            of_slice["boxes_outside"] += 1
            box = ", ".join(f"{side:g}" for side in item.box)
            self.note("boxes_outside", f"{where} lies outside its {photo.width} x {photo.height} photo: {box}")

    def _compare_box(self, item, of_slice, where):
        """COCO's boxes lie within a pixel of their masks; two pixels and a twentieth of the side are let pass."""
        tight, stated = np.array(tight_box(item.mask)), np.array(item.box)
        sides = np.tile(tight[2:] - tight[:2], 2)
        if np.any(np.abs(tight - stated) > 2 + 0.05 * sides):
            of_slice["box_disagreements"] += 1
            boxes = (", ".join(f"{side:g}" for side in box) for box in (tight, stated))
            self.note("box_disagreements", "{}: the mask lies in {}, its box says {}".format(where, *boxes))

    def _ambiguous(self, photo, objects):
        """One sentence for two objects of a photo, in one slice."""
        seen = {}
        for item in objects:
            for text in set(item.expressions):
                box = seen.setdefault((slice_name(item), text.strip().lower()), item.box)
                if box != item.box:
                    self._slice(slice_name(item))["ambiguous_expressions"] += 1


def _area_bin(photo, item):
    if item.mask is not None:
        area = float(item.mask.mean())
    else:
        x0, y0, x1, y1 = item.box
        area = (x1 - x0) * (y1 - y0) / (photo.width * photo.height)
    return int(np.clip(np.searchsorted(AREA_EDGES, area, "right") - 1, 0, len(AREA_EDGES) - 2))


def add_up(parts):
    """Adds the plain values of several shards; `texts` and `ref_ids` are joined in order.

    Args:
        parts: iterable of what `Statistics.to_json` gives.

    Returns:
        One dict of the same form.
    """
    total = {"slices": {}, "problems": [], "counts": collections.Counter()}
    for part in parts:
        total["problems"] += part["problems"]
        total["counts"].update(part["counts"])
        for name, values in part["slices"].items():
            into = total["slices"].setdefault(name, {})
            for key, value in values.items():
                if isinstance(value, dict):
                    into[key] = dict(collections.Counter(into.get(key, {})) + collections.Counter(value))
                elif key == "areas":
                    into[key] = [a + b for a, b in zip(into.get(key, [0] * len(value)), value, strict=True)]
                else:
                    into[key] = into.get(key, type(value)()) + value
    return total
