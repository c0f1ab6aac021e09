"""Sentences that are made up: in the model's own words, against every object of the photo, and what gets none."""

import json

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from lts_keras.config.data_schema import CocoSource
from lts_keras.data.sources import open_source
from lts_keras.data.sources.annotations import Annotation
from lts_keras.data.sources.coco import has_several_parts
from lts_keras.data.sources.made_up import make_up, nouns_of_class
from lts_keras.data.text import build_vocabulary
from tests.lts_keras.data import data_trees


def annotation(box, category="dog", crowd=False, segmentation=((0, 0, 9, 0, 9, 9),)):
    return Annotation(1, segmentation and [list(part) for part in segmentation], box, category, crowd)


LEFT, RIGHT = (0, 40, 20, 60), (60, 40, 90, 60)


@pytest.mark.parametrize(
    ("name", "noun"),
    [
        ("alarm_clock", "alarm clock"),
        ("AlarmClock", "alarm clock"),
        ("Alarm Clock", "alarm clock"),
        ("alarm.clock", "alarm clock"),
        ("kitchen/alarm-clock", "kitchen alarm clock"),
        ("pad_(for_paper)", "pad for paper"),
        ("iPhone", "iphone"),
        ("TV", "tv"),
        ("CUP", "cup"),
        ("Café", "café"),
        ("cups", "cups"),
        ("3", "3"),
        ("", None),
        ("???", None),
        ("\U0001f600", "\U0001f600"),
    ],
)
def test_class_names_are_made_into_the_models_words(name, noun):
    assert nouns_of_class(name)[:1] == ((noun,) if noun else ())
    # They are words as the vocabulary has them.
    assert all(word in build_vocabulary(nouns_of_class(name)) for noun in nouns_of_class(name) for word in noun.split())


def test_what_is_known_of_a_class_goes_by_its_words():
    assert "bike" in nouns_of_class("Motorcycle") and "vehicle" in nouns_of_class("MOTORCYCLE")
    assert nouns_of_class("Dining_Table")[0] == "table"
    assert nouns_of_class("Person", {"person": ("guy",)})[-1] == "guy"
    assert nouns_of_class("Person", {"Person": ("Guy",)})[-1] == "guy"


def test_classes_of_the_same_words_are_rivals():
    texts = make_up({1: annotation(LEFT, "Coffee_Cup"), 2: annotation(RIGHT, "coffee cup")}, 100, 100, most=100)
    assert texts[1] and texts[2] and not set(texts[1]) & set(texts[2])
    assert not {"coffee cup", "the coffee cup"} & {*texts[1], *texts[2]}


def test_an_object_of_an_unknown_class_could_have_any_name():
    texts = make_up({1: annotation(LEFT), 2: annotation(RIGHT, "")}, 100, 100, most=100)
    assert texts.keys() == {1}
    assert "left dog" in texts[1] and not {"dog", "the dog", "a dog"} & set(texts[1])


def test_boxes_alone_are_rivals_and_get_sentences():
    texts = make_up({1: annotation(LEFT), 2: annotation(RIGHT, segmentation=None)}, 100, 100, most=100)
    assert "left dog" in texts[1] and "right dog" in texts[2]


def test_no_sentence_is_made_for_two_objects():
    # A class may be called what a place makes of another one.
    texts = make_up({1: annotation(LEFT, "cup"), 2: annotation((30, 0, 99, 39), "left cup")}, 100, 100, most=100)
    assert "left cup" not in [*texts[1], *texts[2]] and texts[1] and texts[2]


@hypothesis.given(
    st.lists(
        st.tuples(
            st.sampled_from(["Cup", "cup", "CUP", "tea_cup", "tea cup", "", "plate", "left cup"]),
            st.integers(0, 70),
            st.integers(0, 70),
            st.integers(1, 60),
            st.booleans(),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_every_sentence_fits_one_object_of_the_photo(rows):
    annotations = {
        key: annotation((x, y, x + side, y + side), name, crowd) for key, (name, x, y, side, crowd) in enumerate(rows)
    }
    texts = make_up(annotations, 200, 200, most=1000)
    made = [text for found in texts.values() for text in found]
    assert len(set(made)) == len(made)
    assert all(text == text.lower() and text.strip() and "_" not in text for text in made)
    # Alone by its noun: no other object can have it, one of an unknown class included.
    for key, found in texts.items():
        assert not annotations[key].crowd
        nouns = set(nouns_of_class(annotations[key].category))
        others = [one for other, one in annotations.items() if other != key]
        if any(not nouns_of_class(one.category) or nouns & set(nouns_of_class(one.category)) for one in others):
            assert not {f"the {noun}" for noun in nouns if all(len(noun) >= len(other) for other in nouns)} & set(found)


def parts(*boxes):
    mask = np.zeros((40, 60), bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "several"),
    [
        (parts((5, 5, 25, 25)), False),
        (parts((5, 5, 25, 25), (40, 5, 60, 25)), True),
        (parts((5, 5, 25, 25), (40, 5, 44, 9)), False),  # a speck beside it
        (parts((5, 5, 25, 25), (25, 25, 45, 40)), False),  # corners touch
        (parts((0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)), True),
        (parts(), False),
    ],
)
def test_a_crowd_lies_in_several_parts_of_about_one_size(mask, several):
    assert has_several_parts(mask) == several


@pytest.mark.parametrize(
    ("settings", "made", "reason"),
    [
        ({}, {1, 3}, "crowd region"),
        ({"crowd_flags": "objects"}, {1, 2, 3}, None),
        ({"crowd_flags": "crowds"}, {1}, "crowd region"),
        ({"coco_photos": True}, {1}, "crowd region"),
    ],
)
def test_what_a_crowd_flag_means_is_said_and_counted(tmp_path, settings, made, reason):
    (tmp_path / "a.jpg").write_bytes(data_trees.jpeg(1, (40, 60)))
    flagged = [data_trees.polygon_annotation(key, 1, (0, 0, 1, 1), key) for key in (1, 2, 3)]
    flagged[0] = data_trees.polygon_annotation(1, 1, (0, 0, 10, 10))
    for item, boxes in ((flagged[1], [(0, 20, 15, 40), (30, 20, 45, 40)]), (flagged[2], [(20, 0, 40, 15)])):
        flat = parts(*boxes).T.ravel().astype(int)
        edges = np.flatnonzero(np.diff(flat)) + 1
        counts = np.diff([0, *edges, flat.size]).tolist()
        if flat[0]:
            counts.insert(0, 0)
        x0, y0 = np.min(boxes, 0)[:2].tolist()
        x1, y1 = np.max(boxes, 0)[2:].tolist()
        item |= {"segmentation": {"size": [40, 60], "counts": counts}, "iscrowd": 1, "bbox": [x0, y0, x1 - x0, y1 - y0]}
    content = data_trees.instances(annotations=flagged)
    content["images"] = [{"id": 1, "file_name": "a.jpg", "height": 40, "width": 60}]
    (tmp_path / "own.json").write_text(json.dumps(content))
    source = open_source(CocoSource(name="own", instances="own.json", photos=".", **settings), tmp_path)
    (entry,) = source.entries()
    assert {int(item.ref_id.removeprefix("made:")) for item in source.read(entry.key).objects} == made
    assert source.num_objects == 3
    assert {row: value["count"] for row, value in source.left_out.rows.items()} == (
        {reason: 3 - len(made)} if reason else {}
    )
    assert any("2 annotations are flagged as crowds" in line for line in source.said)
