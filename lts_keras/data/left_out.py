"""What is left out while data is read: how many objects, why, and the first of each reason. Nothing goes in silence."""

import dataclasses

from lts_keras.data.schema import one_line

__all__ = ["REASONS", "LeftOut", "Reason"]


@dataclasses.dataclass(frozen=True)
class Reason:
    """Why objects are left out.

    Attributes:
        meaning: what it says about the data.
        advice: what to do where it is not wanted.
        meant: whether it is what the configuration asks for, or the rule of made-up sentences; such objects do not
            count against `data.check.max_left_out`.
    """

    meaning: str
    advice: str
    meant: bool = False


REASONS = {
    "unreadable photo": Reason("the photo is missing, damaged or of a format that is not read", "mend or remove it"),
    "size mismatch": Reason(
        "the photo has another size than its annotations are for", "give the photo that was annotated, not a copy"
    ),
    "empty mask": Reason(
        "the mask has no pixel, though the expression has a target", "draw the mask anew, or say `no_target`"
    ),
    "box without area": Reason("a box alone, with no area inside the photo, says nothing", "draw the box anew"),
    "no sentence": Reason("no expression has a word that the model could read", "write one, or remove the object"),
    "leak": Reason(
        "a photo of train is held out too, and data.check.on_leak is `drop`", "nothing, if that is meant", meant=True
    ),
    "dropped split": Reason("rename_splits drops the split", "nothing, if that is meant", meant=True),
    "split without made-up sentences": Reason(
        "made_up_splits does not name the split of the photo", "nothing, if that is meant", meant=True
    ),
    "crowd region": Reason(
        "one annotation for several objects (`iscrowd`): no sentence can be made up for it",
        "nothing; where each is one object, say `crowd_flags: objects`",
        meant=True,
    ),
    "unknown class": Reason(
        "its class is not in the file, or its name has no word: no sentence can be made up for it",
        "list its category, by a name in words",
    ),
    "small object": Reason(
        "smaller than a hundredth of the photo: no sentence is made up for it", "nothing; write refs for it", meant=True
    ),
    "no sentence fits it alone": Reason(
        "every sentence from its class and place fits another object too", "nothing; write refs for it", meant=True
    ),
}
"""Every reason that `LeftOut.add` takes."""


class LeftOut:
    """Counts objects that are left out, by reason.

    Attributes:
        rows: dict, reason of `REASONS` -> `{"count": int, "first": text that names the first of them}`.
    """

    def __init__(self):
        self.rows = {}

    def add(self, reason, example, count=1):
        """Counts objects; raises `KeyError` for a reason that is not one of `REASONS`."""
        if REASONS[reason] and count:
            row = self.rows.setdefault(reason, {"count": 0, "first": one_line(example)})
            row["count"] += count

    @property
    def count(self):
        """Objects of all reasons."""
        return sum(row["count"] for row in self.rows.values())
