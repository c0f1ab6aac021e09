import gc
import json
import weakref

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from lts_keras.data.checks.statistics import OF_OBJECTS, Statistics, add_up
from lts_keras.data.schema import Photo, ReferredObject

WIDTH, HEIGHT = 64, 48


def rectangle(x0, y0, x1, y1):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def make_item(box=(2.0, 3.0, 12.0, 13.0), mask=None, texts=None, ref_id="1", split="train", **further):
    texts = (f"cup {ref_id}",) if texts is None else tuple(texts)
    return ReferredObject(ref_id, "own", split, texts, mask, box, "cup", **further)


def make_photo(*items, photo_id="own:a.jpg", **further):
    return Photo(photo_id, b"", HEIGHT, WIDTH, items, **further)


def counts(statistics, kinds=OF_OBJECTS, name="own/train"):
    one = statistics.to_json()["slices"][name]
    return {kind: one[kind] for kind in kinds if one[kind]}


@pytest.mark.parametrize(
    "box",
    [
        (10, 10, 10, 22),  # no width
        (10, 10, 22, 10),  # no height
        (10, 10, 10.3, 22),  # a slip of the hand
        (64, 10, 80, 22),  # begins where the photo ends
        (-20, 10, 0, 22),
        (10, 900, 30, 1000),
        (-1e9, -1e9, -1e8, -1e8),
    ],
)
def test_a_box_alone_without_area_in_the_photo_is_left_out(box):
    statistics = Statistics()
    kept = statistics.add(make_photo(make_item(box), make_item(ref_id="2")))
    assert [item.ref_id for item in kept] == ["2"]
    assert statistics.left_out["box without area"]["count"] == 1
    assert "own:a.jpg: ref 1 of own/train" in statistics.left_out["box without area"]["first"]
    found = statistics.to_json()
    assert found["slices"]["own/train"]["boxes_without_area"] == found["counts"]["boxes_without_area"] == 1
    assert (found["slices"]["own/train"]["refs"], found["slices"]["own/train"]["box_only"]) == (1, 1)
    problem = next(problem for problem in found["problems"] if problem["kind"] == "boxes_without_area")
    assert (problem["photo_id"], problem["ref_id"], problem["slice"]) == ("own:a.jpg", "1", "own/train")


def test_a_mask_beside_a_box_without_area_keeps_its_own_box():
    statistics = Statistics()
    (kept,) = statistics.add(make_photo(make_item((10, 10, 10, 22), rectangle(5, 6, 20, 30))))
    assert kept.box == (5.0, 6.0, 20.0, 30.0)
    assert counts(statistics) == {"boxes_without_area": 1}
    assert statistics.left_out == {}


def test_a_thin_box_and_one_cut_by_the_edge_are_kept():
    statistics = Statistics()
    items = (make_item((10, 10, 10.6, 40)), make_item((63, 10, 80, 22), ref_id="2"))
    assert statistics.add(make_photo(*items)) == items
    assert counts(statistics) == {"boxes_outside": 1}


def test_an_empty_mask_is_left_out_for_that_reason_alone():
    statistics = Statistics()
    assert statistics.add(make_photo(make_item((5, 5, 5, 5), rectangle(0, 0, 0, 0)))) == ()
    assert counts(statistics) == {"empty_masks": 1}
    assert {reason: row["count"] for reason, row in statistics.left_out.items()} == {"empty mask": 1}


def test_no_target_is_no_finding():
    statistics = Statistics()
    assert len(statistics.add(make_photo(make_item(None, rectangle(0, 0, 0, 0))))) == 1
    assert counts(statistics, ("no_target", *OF_OBJECTS)) == {"no_target": 1}


def test_masks_inside_out_or_of_the_whole_photo_are_found():
    statistics = Statistics()
    cup = rectangle(20, 15, 40, 30)
    whole = rectangle(0, 0, WIDTH, HEIGHT)
    statistics.add(make_photo(make_item((20, 15, 40, 30), ~cup), make_item((0, 0, WIDTH, HEIGHT), whole, ref_id="2")))
    assert counts(statistics) == {"inverted_masks": 1, "box_disagreements": 1, "whole_photo_masks": 1}


def test_what_a_reader_found_is_counted_by_object_and_by_photo():
    statistics = Statistics()
    findings = ("jpeg_masks", "unknown_classes")
    statistics.add(make_photo(make_item(findings=findings), make_item(ref_id="2"), findings=("frame_by_size",)))
    assert counts(statistics) == {"jpeg_masks": 1, "unknown_classes": 1}
    found = statistics.to_json()
    assert found["counts"]["frame_by_size"] == 1
    assert [problem for problem in found["problems"] if problem["kind"] == "frame_by_size"] == [
        {
            "kind": "frame_by_size",
            "message": "own:a.jpg: the size in the annotations decided how it is turned",
            "photo_id": "own:a.jpg",
        }
    ]


@pytest.mark.parametrize(("applied", "kind"), [(6, "turned_photos"), (1, "stored_photos")])
def test_a_photo_with_an_orientation_is_counted_once_whether_it_is_turned_or_not(applied, kind):
    statistics = Statistics()
    items = make_item(), make_item(ref_id="2")
    statistics.add(make_photo(*items, orientation=applied, findings=(kind,)))
    statistics.add(make_photo(*items))
    assert statistics.to_json()["counts"] == {kind: 1}


def test_sentences_are_compared_as_the_model_reads_them():
    texts = ("The Cup", "the cup.", "left-most cup", "?!"), ("the cup!", "leftmost cup"), ("the  cup",)
    boxes = (0, 0, 10, 10), (20, 20, 30, 30), (0, 0, 10, 10)
    items = [
        make_item(box, texts=text, ref_id=str(number))
        for number, (box, text) in enumerate(zip(boxes, texts, strict=True))
    ]
    items.append(make_item((40, 20, 50, 30), texts=("the cup",), ref_id="3", split="val"))
    statistics = Statistics()
    statistics.add(make_photo(*items))
    statistics.add(make_photo(make_item((30, 30, 40, 40), texts=("the cup",)), photo_id="own:b.jpg"))
    # Object 1 is called as object 0; object 2 has the box of object 0, and other splits and photos do not count.
    assert counts(statistics) == {"duplicate_expressions": 1, "ambiguous_expressions": 1}
    messages = [problem["message"] for problem in statistics.to_json()["problems"]]
    assert messages == [
        "own:a.jpg: ref 0 of own/train has 'the cup.' twice",
        "own:a.jpg: ref 1 of own/train and ref 0 are both called 'the cup!'",
    ]


def test_messages_are_bounded_and_of_one_line():
    statistics = Statistics()
    text = "a\nb\x1b[31m" + "long " * 10_000
    for number in range(60):
        statistics.add(make_photo(make_item(texts=(text, text), ref_id=str(number)), photo_id=f"own:{number}"))
    found = statistics.to_json()
    assert found["counts"]["duplicate_expressions"] == 60
    assert len(found["problems"]) == 50
    assert all(len(problem["message"]) < 200 and problem["message"].isprintable() for problem in found["problems"])


def test_a_kind_that_nobody_knows_is_refused():
    with pytest.raises(KeyError, match="strange_photos"):
        Statistics().note("strange_photos", "a.jpg")


items = st.builds(
    make_item,
    box=st.none() | st.tuples(*[st.floats(-100, 200)] * 4),
    mask=st.none() | st.builds(rectangle, *[st.integers(0, 48)] * 4),
    texts=st.lists(st.sampled_from(["left cup", "Left cup.", "the big one", "?!"]), min_size=1, max_size=3),
    ref_id=st.sampled_from("123"),
    split=st.sampled_from(["train", "val"]),
    findings=st.sampled_from([(), ("jpeg_masks",)]),
).filter(lambda item: item.box is not None or item.mask is not None)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(photos=st.lists(st.lists(items, max_size=4), max_size=5), cut=st.integers(0, 5))
def test_shards_add_up_to_the_whole_and_every_object_is_accounted_for(photos, cut):
    photos = [make_photo(*objects, photo_id=f"own:{number}") for number, objects in enumerate(photos)]
    apart, together = [Statistics(), Statistics()], Statistics()
    for number, photo in enumerate(photos):
        apart[number >= cut].add(photo)
        kept = together.add(photo)
        assert all(item.box is None or min(np.subtract(item.box[2:], item.box[:2])) > 0 for item in kept)
    total = add_up([json.loads(json.dumps(statistics.to_json())) for statistics in apart])
    assert total["slices"] == together.to_json()["slices"]
    assert total["counts"] == together.to_json()["counts"]
    assert {reason: row["count"] for reason, row in total["left_out"].items()} == {
        reason: row["count"] for reason, row in together.left_out.items()
    }
    read = sum(len(photo.objects) for photo in photos)
    kept = sum(one["refs"] for one in total["slices"].values())
    assert read == kept + sum(row["count"] for row in total["left_out"].values())


def test_masks_do_not_stay_in_memory():
    statistics, mask = Statistics(), rectangle(20, 15, 40, 30)
    alive = weakref.ref(mask)
    statistics.add(make_photo(make_item((20, 15, 40, 30), mask)))
    del mask
    gc.collect()
    assert alive() is None
