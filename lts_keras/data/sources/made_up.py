"""Expressions made from class, size and place, where they fit one object alone."""

import functools
import json
import re
import zlib
from pathlib import Path

import numpy as np
import tensorflow as tf

from lts_keras.data.text import split_words

__all__ = ["is_small", "make_up", "nouns_of_class"]

_MIN_AREA = 0.01
"""Share of the photo: smaller objects are not referred to, but do count as rivals."""
_MARGIN = 0.06
"""Share of the photo by which a place must be clear."""
_MIN_RATIO = 1.5
"""Of areas, before one object is called the biggest or smallest."""
_ORDINALS = (("second", "2nd"), ("third", "3rd"), ("fourth", "4th"))

# `{}` is the noun. "on left" without an article is how people type in RefCOCO.
_OUTERMOST = {
    "left": ("left {}", "{} on the left", "{} on left", "leftmost {}", "far left {}", "{} to the left", "{} far left"),
    "right": (
        *("right {}", "{} on the right", "{} on right", "rightmost {}", "far right {}"),
        *("{} to the right", "{} far right"),
    ),
    "top": ("top {}", "{} at the top", "upper {}", "highest {}", "topmost {}"),
    "bottom": ("bottom {}", "{} at the bottom", "lower {}", "lowest {}"),
}
_NEAREST = ("front {}", "nearest {}", "closest {}", "{} in front", "{} closest to us", "{} in the front")
_FARTHEST = ("back {}", "farthest {}", "{} in the back", "{} in back", "{} in the background")
_BIGGEST = ("biggest {}", "largest {}", "big {}", "the large {}")
_SMALLEST = ("smallest {}", "small {}", "little {}")
_MIDDLE = ("middle {}", "{} in the middle", "center {}", "{} in middle", "{} in the center")
_AXES = {"left": (0, -1), "right": (0, 1), "top": (1, -1), "bottom": (1, 1)}


def make_up(annotations, height, width, further_nouns=None, most=16):
    """Makes expressions for the objects of one photo.

    An expression is kept where no other object that its noun can name fits it: small objects and those with a box alone
    count too, and an object of an unknown class could have any name; a crowd of one leaves no sentence. Nouns of a
    class that has a crowd region in the photo are not used. Nouns are in the words of the model's vocabulary, by which
    they are compared.

    Args:
        annotations: dict of `Annotation` by id, all of the photo.
        height, width: size of the photo in pixels.
        further_nouns: dict of nouns by class, used beside the known ones although they are not true of every object.
        most: int. Expressions per object; of more, a choice that depends on the annotation alone.

    Returns:
        Dict of lists of expressions by id; objects without any are left out.
    """
    nouns = {key: nouns_of_class(item.category, further_nouns) for key, item in annotations.items()}
    boxes = {key: np.array(item.box) / (width, height, width, height) for key, item in annotations.items()}
    crowded = {noun for key, item in annotations.items() if item.crowd for noun in nouns[key]}
    if any(item.crowd and not nouns[key] for key, item in annotations.items()):
        return {}  # Several objects that could be anything.
    alone = {key: item for key, item in annotations.items() if not item.crowd}
    found = {key: [] for key in alone if _area(boxes[key]) >= _MIN_AREA and nouns[key]}
    one_class = len(set(nouns.values())) == 1 and not crowded
    usable = {noun for key in found for noun in nouns[key]} - crowded
    for noun in [*sorted(usable), *(["one", ""] if one_class else [])]:
        free = noun in ("", "one")
        named = {key: boxes[key] for key in alone if free or noun in nouns[key] or not nouns[key]}
        for key in found:
            if key in named and (free or noun in nouns[key]):
                rivals = np.array([box for other, box in named.items() if other != key]).reshape(-1, 4)
                found[key] += [phrase.format(noun).strip() for phrase in _phrases(named[key], rivals, noun)]
    return {key: _choose(key, texts, most) for key, texts in _apart(found).items() if texts}


def _apart(found):
    """Without the sentences that several objects got: "left cup" of a class so called, and of the cup on the left."""
    owners = {}
    for key, texts in found.items():
        for text in texts:
            owners.setdefault(text, set()).add(key)
    return {key: [text for text in texts if len(owners[text]) == 1] for key, texts in found.items()}


def is_small(box, height, width):
    """Whether an object is too small to be referred to: below a hundredth of the photo; `box` in pixels."""
    x0, y0, x1, y1 = box
    return (x1 - x0) * (y1 - y0) / (height * width) < _MIN_AREA


def _phrases(box, rivals, noun):
    """Phrases that fit `box` and none of `rivals` (n, 4); boxes in shares of the photo."""
    phrases = []
    if not len(rivals):
        phrases += ["{}", "the {}", "an {}" if noun[:1] in "aeiou" else "a {}"] if noun not in ("", "one") else []
    sides = [side for side in _AXES if _is_outermost(box, rivals, side)]
    for side in sides:
        phrases += _OUTERMOST[side]
    for down in set(sides) & {"top", "bottom"}:
        for across in set(sides) & {"left", "right"}:
            phrases += [f"{down} {across} {{}}", f"{{}} in the {down} {across}", f"{{}} in the {down} {across} corner"]
    if len(rivals):
        phrases += _by_size_and_depth(box, rivals) + _by_order(box, rivals)
    # Without a noun "the" and "a" phrases make no sense; people write "left", "bottom right", "second from left".
    if noun == "":
        phrases = [phrase for phrase in phrases if phrase.endswith(" {}") and phrase.split()[0] in (*_AXES, "far")]
    return phrases


def _is_outermost(box, rivals, side):
    """Clearly nearer to a side than all rivals and in that half of the photo; at its third with no rival."""
    axis, sign = _AXES[side]
    center = sign * (box[axis] + box[axis + 2]) / 2
    half = 0.5 if sign > 0 else -0.5
    if not len(rivals):
        return center > half + 1 / 6
    others = sign * (rivals[:, axis] + rivals[:, axis + 2]) / 2
    return center > half and bool(np.all(center > others + _MARGIN))


def _by_size_and_depth(box, rivals):
    areas, area = np.array([_area(other) for other in rivals]), _area(box)
    phrases = []
    if area > _MIN_RATIO * areas.max():
        phrases += _BIGGEST
        # Photos are taken standing upright: what ends lower and is larger stands nearer.
        if box[3] > rivals[:, 3].max() + _MARGIN:
            phrases += _NEAREST
    if area * _MIN_RATIO < areas.min():
        phrases += _SMALLEST
        if box[3] < rivals[:, 3].min() - _MARGIN:
            phrases += _FARTHEST
    return phrases


def _by_order(box, rivals):
    """Gives "second from the left", where three to five objects stand clearly side by side."""
    if not 2 <= len(rivals) <= 4:
        return []
    centers = (rivals[:, 0] + rivals[:, 2]) / 2
    own = (box[0] + box[2]) / 2
    if np.diff(np.sort([*centers, own])).min() < _MARGIN:
        return []
    phrases = list(_MIDDLE) if len(rivals) == 2 and centers.min() < own < centers.max() else []
    for side, place in (("left", int((centers < own).sum())), ("right", int((centers > own).sum()))):
        # "third from the left" of three is the rightmost: true, but nobody says so.
        if 1 <= place <= (len(rivals) + 1) // 2:
            for word in _ORDINALS[place - 1]:
                phrases += [f"{word} {{}} from the {side}", f"{word} {{}} from {side}", f"{{}} {word} from the {side}"]
    return phrases


def _area(box):
    return float((box[2] - box[0]) * (box[3] - box[1]))


@functools.cache
def _names():
    return json.loads(Path(__file__).with_name("class_names.json").read_text(encoding="utf-8"))


def nouns_of_class(category, further=None):
    """Nouns that are true of every object of a class, its own name first, and the further ones.

    Args:
        category: name of the class as a file has it: `"alarm_clock"`, `"Cup"`.
        further: dict of further nouns by class; keys as in the file, or in words.

    Returns:
        Tuple of nouns in words as the model reads them; empty where the name has none. A plural is not guessed.
    """
    name, further = _in_words(category), further or {}
    if not name:
        return ()
    groups = [group for group, members in _names()["groups"].items() if name in members]
    more = [*further.get(category, ()), *(further.get(name, ()) if name != category else ())]
    nouns = [*_names()["synonyms"].get(name, [name]), name, *groups, *more]
    return tuple(noun for noun in dict.fromkeys(_in_words(noun) for noun in nouns) if noun)


@functools.lru_cache(4096)
def _in_words(name):
    """A class's name as the model reads it: "alarm_clock", "AlarmClock" and "Alarm clock" are "alarm clock"."""
    # A hump after two small letters starts a word; "iPhone" is one.
    text = re.sub(r"(?<=[a-z]{2})(?=[A-Z])", " ", re.sub(r"[_./\\|:+]+", " ", name))
    (words,) = split_words(tf.constant([text])).to_list()
    return b" ".join(words).decode()


def _choose(key, texts, most):
    texts = list(dict.fromkeys(texts))
    if len(texts) <= most:
        return texts
    rng = np.random.default_rng(zlib.crc32(str(key).encode()))
    return [texts[index] for index in sorted(rng.choice(len(texts), most, replace=False))]
