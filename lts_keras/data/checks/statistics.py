"""What is counted while photos pass: per data set and split, in plain values that JSON holds and that can be added."""

import collections
import dataclasses

import numpy as np
import tensorflow as tf

from lts_keras.data.checks.findings import KINDS
from lts_keras.data.checks.mask_findings import box_fits, mask_findings
from lts_keras.data.left_out import LeftOut
from lts_keras.data.prepare.masks import tight_box
from lts_keras.data.schema import one_line
from lts_keras.data.text import split_words

__all__ = ["AREA_EDGES", "MOST_PROBLEMS", "NOT_SHOWN", "Statistics", "add_up", "slice_name"]

AREA_EDGES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Edges of the histogram of object sizes, as shares of the photo."""
MOST_PROBLEMS = 50
"""Messages kept of one kind and shard; all are counted."""
OF_OBJECTS = (
    *("empty_masks", "boxes_without_area", "box_disagreements", "boxes_outside", "inverted_masks", "whole_photo_masks"),
    *("jpeg_masks", "soft_masks", "unknown_classes"),
    *("empty_expressions", "duplicate_expressions", "ambiguous_expressions"),
)
"""Kinds of findings that are counted in each slice."""
_COUNTS = ("photos", "refs", "expressions", "no_target", "box_only", *OF_OBJECTS)
NOT_SHOWN = ("texts", "ref_ids", "photo_ids", "num_texts")
"""Keys of a slice that are lists as long as the data, and no part of the report."""
_SMALLEST_SIDE = 0.5
"""Pixels. A narrower box inside the photo is a slip of the hand, and no cell of any target is filled by it."""
_BATCH = 8192


def slice_name(item):
    """`<dataset>/<split>` of a referred object."""
    return f"{item.dataset}/{item.split}"


class Statistics:
    """Counts of the photos that passed.

    Attributes:
        slices: dict, slice -> dict of counts, `classes`, `areas` (counts between `AREA_EDGES`), `texts`, and of each
            object `ref_ids`, `photo_ids` and `num_texts`, which tell whose the texts are.
        problems: list of dicts `kind`, `message` and, where they are known, `photo_id`, `ref_id`, `slice`.
        counts: dict, kind of problem -> how many.
        left_out: dict, reason of `REASONS` -> `{"count": int, "first": text}`.
    """

    def __init__(self):
        self.slices, self.problems, self.counts = {}, [], collections.Counter()
        self._left_out = LeftOut()
        self._sentences, self._num_objects, self._num_photos = [], 0, 0

    @property
    def left_out(self):
        """See the class."""
        return self._left_out.rows

    def note(self, kind, message, photo_id=None, item=None):
        """Counts a finding and keeps the first of its kind.

        Args:
            kind: one of `findings.KINDS`.
            message: one line that names photo and object.
            photo_id: of the photo, for its picture.
            item: `ReferredObject` that the finding is about, or `None` for one about the whole photo.
        """
        if kind not in KINDS:
            raise KeyError(f"no kind of finding: {kind}")
        self.counts[kind] += 1
        if item is not None and kind in OF_OBJECTS:
            self._slice(slice_name(item))[kind] += 1
        if self.counts[kind] <= MOST_PROBLEMS:
            place = {} if photo_id is None else {"photo_id": photo_id}
            place |= {} if item is None else {"ref_id": item.ref_id, "slice": slice_name(item)}
            self.problems.append({"kind": kind, "message": one_line(message), **place})

    def leave_out(self, reason, message, count=1):
        """Counts objects that do not reach the records; `reason` is one of `left_out.REASONS`."""
        self._left_out.add(reason, message, count)

    def add(self, photo):
        """Counts the objects of a photo; returns those that are fit for records.

        Args:
            photo: `Photo`.

        Returns:
            Tuple of `ReferredObject`: without those whose mask is empty though they have a target, or that have nothing
            but a box without area; a box without area beside a mask is that of the mask. Blank expressions are counted
            by `blank` before, and are not in the photo any more.
        """
        self._num_photos += 1
        for name in dict.fromkeys(slice_name(item) for item in photo.objects):
            self._slice(name)["photos"] += 1
        self._photo(photo)
        return tuple(kept for item in photo.objects if (kept := self._object(photo, item)) is not None)

    def blank(self, photo, item):
        """Counts a blank expression of an object."""
        self.note("empty_expressions", f"{_where(photo.photo_id, item)} has a blank expression", photo.photo_id, item)

    def to_json(self):
        """Plain values, equal for equal photos."""
        self._compare_sentences()
        return {
            "slices": self.slices,
            "problems": self.problems,
            "counts": dict(self.counts),
            "left_out": self.left_out,
        }

    def _slice(self, name):
        if name not in self.slices:
            empty = {"classes": {}, "areas": [0] * (len(AREA_EDGES) - 1)} | {key: [] for key in NOT_SHOWN}
            self.slices[name] = dict.fromkeys(_COUNTS, 0) | empty
        return self.slices[name]

    def _photo(self, photo):
        """Notes what was found about the photo itself, and how it is turned."""
        # That a photo is left as it is stored its reader knows, which has looked at its header.
        kinds = dict.fromkeys(photo.findings)
        if photo.orientation != 1:
            kinds["turned_photos"] = f"turned by its EXIF orientation {photo.orientation}"
        for kind, words in kinds.items():
            self.note(kind, f"{photo.photo_id}: {words or KINDS[kind].one}", photo.photo_id)

    def _object(self, photo, item):
        """Counts one object; returns it as it can be used, or `None`."""
        of_slice, where = self._slice(slice_name(item)), _where(photo.photo_id, item)
        for kind in item.findings:
            self.note(kind, f"{where}: {KINDS[kind].one}", photo.photo_id, item)
        if item.box is not None:
            item = self._judge_box(photo, item, where)
            if item is None:
                return None
        if item.mask is None:
            of_slice["box_only"] += 1
        elif item.box is None:
            of_slice["no_target"] += 1
        of_slice["refs"] += 1
        of_slice["expressions"] += len(item.expressions)
        of_slice["texts"] += item.expressions
        of_slice["ref_ids"].append(item.ref_id)
        of_slice["photo_ids"].append(photo.photo_id)
        of_slice["num_texts"].append(len(item.expressions))
        of_slice["classes"][item.category] = of_slice["classes"].get(item.category, 0) + 1
        of_slice["areas"][_area_bin(photo, item)] += 1
        self._num_objects += 1
        # Without its mask: a shard's masks together would take gigabytes.
        light = dataclasses.replace(item, mask=None)
        of_photo = self._num_photos, self._num_objects, photo.photo_id, light
        self._sentences += [(*of_photo, text) for text in item.expressions]
        return item

    def _judge_box(self, photo, item, where):
        """Notes what is wrong with the box and the mask that it should hold; returns what `_object` does."""
        x0, y0, x1, y1 = item.box
        stated = ", ".join(f"{side:g}" for side in item.box)
        size = f"{photo.width} x {photo.height}"
        if x0 < -1 or y0 < -1 or x1 > photo.width + 1 or y1 > photo.height + 1:
            self.note("boxes_outside", f"{where} reaches out of its {size} photo: {stated}", photo.photo_id, item)
        if item.mask is not None and not item.mask.any():
            self.note("empty_masks", f"{where} has an empty mask and is left out", photo.photo_id, item)
            self.leave_out("empty mask", where)
            return None
        if min(_inner_sides(photo, item.box)) < _SMALLEST_SIDE:
            words = f"{where} has a box without area in its {size} photo: {stated}"
            self.note("boxes_without_area", words, photo.photo_id, item)
            if item.mask is None:
                self.leave_out("box without area", f"{where}: {stated}")
                return None
            return dataclasses.replace(item, box=tight_box(item.mask))
        if item.mask is not None:
            self._judge_mask(photo, item, where)
        return item

    def _judge_mask(self, photo, item, where):
        tight = tight_box(item.mask)
        if not box_fits(tight, item.box):
            boxes = (", ".join(f"{side:g}" for side in box) for box in (tight, item.box))
            words = "{}: the mask lies in {}, its box says {}".format(where, *boxes)
            self.note("box_disagreements", words, photo.photo_id, item)
        for kind, words in mask_findings(photo, item):
            self.note(kind, f"{where}: {words}", photo.photo_id, item)

    def _compare_sentences(self):
        """Notes sentences that the model reads alike: of two objects of a photo, in one slice, or twice of one."""
        first, of_object = {}, set()
        for (photo, number, photo_id, item, text), words in zip(self._sentences, _read(self._sentences), strict=True):
            if not words:
                continue
            where = _where(photo_id, item)
            if (number, words) in of_object:
                self.note("duplicate_expressions", f"{where} has {_shown(text)} twice", photo_id, item)
                continue
            of_object.add((number, words))
            other = first.setdefault((photo, slice_name(item), words), item)
            if other.box != item.box:
                both = f"{where} and ref {other.ref_id} are both called {_shown(text)}"
                self.note("ambiguous_expressions", both, photo_id, item)
        self._sentences = []


def _where(photo_id, item):
    return f"{photo_id}: ref {item.ref_id} of {slice_name(item)}"


def _shown(text):
    """A sentence in quotes on one line, cut where it is long."""
    return repr(text if len(text) <= 80 else text[:79] + "…")


def _read(sentences):
    """The words of every sentence as the model splits them, joined by blanks, as bytes."""
    for start in range(0, len(sentences), _BATCH):
        texts = [sentence[-1] for sentence in sentences[start : start + _BATCH]]
        yield from tf.strings.reduce_join(split_words(tf.constant(texts, tf.string)), -1, separator=" ").numpy()


def _inner_sides(photo, box):
    """Width and height of a box inside the photo, below zero beside it."""
    x0, y0, x1, y1 = box
    return min(x1, photo.width) - max(x0, 0.0), min(y1, photo.height) - max(y0, 0.0)


def _area_bin(photo, item):
    if item.mask is not None:
        area = np.count_nonzero(item.mask) / item.mask.size  # ten times as fast as the mean
    else:
        width, height = _inner_sides(photo, item.box)
        area = width * height / (photo.width * photo.height)
    return int(np.clip(np.searchsorted(AREA_EDGES, area, "right") - 1, 0, len(AREA_EDGES) - 2))


def add_up(parts):
    """Adds the plain values of several shards; lists are joined in order.

    Args:
        parts: iterable of what `Statistics.to_json` gives.

    Returns:
        One dict of the same form.
    """
    total, left_out = {"slices": {}, "problems": [], "counts": collections.Counter()}, LeftOut()
    for part in parts:
        total["problems"] += part["problems"]
        total["counts"].update(part["counts"])
        for reason, row in part["left_out"].items():
            left_out.add(reason, row["first"], row["count"])
        for name, values in part["slices"].items():
            into = total["slices"].setdefault(name, {})
            for key, value in values.items():
                if isinstance(value, dict):
                    into[key] = dict(collections.Counter(into.get(key, {})) + collections.Counter(value))
                elif key == "areas":
                    into[key] = [a + b for a, b in zip(into.get(key, [0] * len(value)), value, strict=True)]
                else:
                    into[key] = into.get(key, type(value)()) + value
    return total | {"left_out": left_out.rows}
