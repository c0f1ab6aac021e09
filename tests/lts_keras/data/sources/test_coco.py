import json
import re

import numpy as np
import pytest

from lts_keras.config.schema import CocoSource
from lts_keras.data.schema import DataError
from lts_keras.data.sources import open_source, read_source
from lts_keras.data.sources.annotations import Annotation
from lts_keras.data.sources.made_up import make_up
from tests.lts_keras.data import data_trees


@pytest.fixture
def tree(tmp_path):
    data_trees.write_refer(tmp_path)
    (tmp_path / "instances.json").write_text(json.dumps(data_trees.instances()))
    rows = [
        {"ref_id": 0, "split": "train", "image_id": 1, "ann_id": 10, "sentences": ["dog", "the dog"]},
        {"ref_id": 1, "split": "val", "image_id": 3, "ann_id": 30, "sentences": [{"sent": "left dog"}]},
    ]
    (tmp_path / "refs.json").write_text(json.dumps({"refs": rows}))
    return tmp_path


def section(**further):
    return CocoSource(**({"name": "coco", "photos": "photos"} | further))


def objects(config, root):
    return [item for photo in read_source(config, root) for item in photo.objects]


def test_refs_point_to_annotations(tree):
    first, second = objects(section(instances="instances.json", refs="refs.json"), tree)
    assert (first.ref_id, first.split, first.expressions, first.category) == ("0", "train", ("dog", "the dog"), "dog")
    assert first.mask[5:30, 5:25].all()
    assert second.expressions == ("left dog",)


def test_boxes_alone_need_no_instances(tree):
    content = {
        "images": [{"id": 1, "file_name": "000000000001.jpg", "height": 40, "width": 60}],
        "refs": [{"ref_id": 5, "split": "val", "image_id": 1, "bbox": [10, 5, 20, 30], "sentences": ["thing"]}],
    }
    (tree / "boxes.json").write_text(json.dumps(content))
    (item,) = objects(section(refs="boxes.json", rename_splits={"*": "train"}), tree)
    assert (item.mask, item.box, item.split) == (None, (10, 5, 30, 35), "train")


def test_made_up_expressions_beside_refs_are_for_train_alone(tree):
    config = section(instances="instances.json", refs="refs.json", made_up=True)
    made = [item for item in objects(config, tree) if item.ref_id.startswith("made:")]
    assert made
    # Photo 3 is val by its ref; photos without a ref are of the source's split, train.
    assert {item.split for item in made} == {"train"}
    assert "made:30" not in {item.ref_id for item in made}


def test_instances_alone_make_expressions_for_every_split(tree):
    content = data_trees.instances()
    content["images"][0]["split"] = "val"
    (tree / "instances.json").write_text(json.dumps(content))
    found = objects(section(instances="instances.json"), tree)
    assert {item.split for item in found} == {"train", "val"}


def test_real_refs_are_all_there(shared_data):
    config = section(instances="coco/instances.json", refs="coco/templated_refs.json", photos="coco/images")
    source = open_source(config, shared_data / "data")
    assert source.counts == {"train": (649, 1298), "val": (174, 348)}
    refs = json.loads((shared_data / "data/coco/templated_refs.json").read_text())["refs"]
    areas = {str(ref["ref_id"]): ref["area"] for ref in refs}
    for entry in source.entries()[:20]:
        for item in source.read(entry.key).objects:
            assert item.mask.sum() == pytest.approx(areas[item.ref_id], rel=0.05, abs=60)


def test_real_boxes_are_in_the_frame_of_the_photo(shared_data):
    config = section(refs="refer_boxes/refs.json", photos="refer_boxes/images", rename_splits={"*": "train"})
    source = open_source(config, shared_data / "data")
    assert sum(len(refs) for refs in source.refs.values()) == 1033
    photo = source.read(source.entries()[0].key)
    assert (photo.height, photo.width) == (256, 256)
    assert all(0 <= side <= 257 for item in photo.objects for side in item.box)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"refs": [{"image_id": 9, "ann_id": 1, "sentences": []}]}, "ref 0 is of photo 9"),
        ({"refs": [{"image_id": 1, "ann_id": 99, "sentences": []}]}, "annotation 99"),
        ({"refs": [{"image_id": 1, "sentences": []}]}, "'bbox' is missing"),
        (
            {"refs": [{"image_id": 1, "bbox": [1, 2], "sentences": []}]},
            r"ref 0 \(refs\[0\]\): bbox: expected: x, y, width",
        ),
        ({"refs": [{"image_id": 1, "bbox": [1, 2, -3, 4], "sentences": []}]}, "x, y, width, height"),
        ({"refs": [{"image_id": 1, "ann_id": 10, "sentences": [3]}]}, "sentences must be text"),
        ([], "not the layout of refs"),
    ],
)
def test_a_bad_refs_file_is_named(tree, content, words):
    (tree / "refs.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=words) as caught:
        open_source(section(instances="instances.json", refs="refs.json"), tree)
    assert "refs.json" in str(caught.value)


def test_a_source_without_files_says_what_it_needs(tree):
    with pytest.raises(DataError, match="needs `instances`, `refs` or both"):
        open_source(section(), tree)


def annotation(box, category="dog", crowd=False):
    return Annotation(1, [[0, 0, 1, 0, 1, 1]], box, category, crowd)


def test_one_object_is_named_by_its_class():
    texts = make_up({1: annotation((30, 30, 60, 60))}, 100, 100)[1]
    assert {"dog", "the dog", "a dog", "an animal"} <= set(texts)


def test_two_objects_are_told_apart_by_place_and_size():
    pair = {1: annotation((0, 40, 20, 60)), 2: annotation((50, 20, 100, 90))}
    # All phrases, before some are chosen.
    texts = make_up(pair, 100, 100)
    assert "left dog" in texts[1] or "dog on the left" in texts[1]
    assert not set(texts[1]) & set(texts[2])
    assert not {"dog", "the dog"} & {*texts[1], *texts[2]}


def test_the_second_of_three_has_its_number():
    three = {key: annotation((x, 40, x + 20, 60), "cup") for key, x in enumerate((5, 40, 75))}
    texts = make_up(three, 100, 100)[1]
    assert {"second cup from the left", "2nd cup from right", "middle cup"} <= set(texts) or len(texts) == 16
    assert not any(re.search("leftmost|rightmost|third", text) for text in texts)


def test_small_objects_are_rivals_but_get_no_text():
    both = {1: annotation((10, 10, 60, 60)), 2: annotation((90, 90, 92, 92))}
    texts = make_up(both, 100, 100)
    assert 2 not in texts
    assert "dog" not in texts[1]


def test_a_crowd_blocks_the_words_of_its_class():
    both = {
        1: annotation((10, 10, 60, 60), "person"),
        2: annotation((60, 60, 99, 99), "person", crowd=True),
        3: annotation((0, 60, 30, 99), "dog"),
    }
    texts = make_up(both, 100, 100)
    assert set(texts) == {3}


def test_words_that_two_classes_share_are_no_name_for_one():
    both = {1: annotation((5, 5, 35, 35), "handbag"), 2: annotation((60, 60, 95, 95), "suitcase")}
    texts = make_up(both, 100, 100)
    assert {"handbag", "the handbag"} <= set(texts[1])
    assert "bag" not in texts[1]


def test_made_up_text_is_the_same_every_time(tree):
    config = section(instances="instances.json")
    assert [item.expressions for item in objects(config, tree)] == [item.expressions for item in objects(config, tree)]


def test_every_sentence_about_real_photos_fits_one_object(shared_data):
    """Reads back "left X", "X on the right", "biggest X": the object has that place among all of its class."""
    config = section(instances="coco/instances.json", photos="coco/images")
    source = open_source(config, shared_data / "data")
    by_photo, checked = {}, 0
    for item in source.annotations.values():
        by_photo.setdefault((item.image_id, item.category), []).append(item)
    for image_id, refs in source.refs.items():
        for ref in refs:
            item = source.annotations[ref.annotations[0]]
            rivals = [other for other in by_photo[image_id, item.category] if other is not item]
            center = (item.box[0] + item.box[2]) / 2
            centers = np.array([(other.box[0] + other.box[2]) / 2 for other in rivals])
            for text in ref.expressions:
                if f"left {item.category}" == text or f"{item.category} on the left" == text:
                    assert np.all(center < centers)
                    checked += 1
                if text in (item.category, f"the {item.category}"):
                    assert not rivals
                    checked += 1
    assert checked > 200


def test_further_nouns_name_a_class_too():
    item = {1: annotation((30, 30, 60, 60))}
    plain = make_up(item, 100, 100, most=100)[1]
    category = item[1].category
    more = make_up(item, 100, 100, further_nouns={category: ("thing",)}, most=100)[1]
    assert set(plain) < set(more)
    assert all("thing" in text for text in set(more) - set(plain))


def test_photos_put_aside_are_the_same_each_time_and_get_no_made_up_sentences(tmp_path):
    images = [{"id": n, "file_name": f"{n:012d}.jpg", "height": 40, "width": 60} for n in range(1, 301)]
    refs = [
        {"ref_id": n, "split": "train" if n % 10 else "val", "image_id": n, "bbox": [1, 1, 9, 9], "sentences": ["dog"]}
        for n in range(1, 301)
    ]
    (tmp_path / "refs.json").write_text(json.dumps({"images": images, "refs": refs}))

    def splits(**options):
        source = open_source(section(refs="refs.json", **options), tmp_path)
        return {entry.photo_id: next(iter(entry.splits)) for entry in source.entries()}

    before, found = splits(), splits(hold_out={"held_out": 0.2, "dev": 0.1})
    aside = {name for name, split in found.items() if split == "held_out"}
    assert 35 < len(aside) < 75 and 10 < sum(split == "dev" for split in found.values()) < 45
    assert all(before[name] == "train" for name in aside), "val stays val"
    # Another share of a later split, or another source with the same photos, changes nothing about the first.
    other = splits(hold_out={"held_out": 0.2, "dev": 0.3}, name="other")
    assert {name for name, split in other.items() if split == "held_out"} == aside
    assert {name for name, split in splits(hold_out={"held_out": 0.25}).items() if split == "held_out"} > aside


def test_held_out_photos_have_the_sentences_of_their_file_alone(tree):
    options = {"instances": "instances.json", "refs": "refs.json", "made_up": True}
    held = objects(section(**options, hold_out={"held_out": 0.999}), tree)
    assert [item.ref_id for item in held if item.split == "held_out"] == ["0"]
    assert not [item for item in held if item.ref_id.startswith("made:")]


@pytest.mark.parametrize("shares", [{"a": 0.6, "b": 0.4}, {"train": 0.1}])
def test_shares_that_leave_no_train_are_refused(shares):
    with pytest.raises(ValueError, match="hold_out: further splits and shares of train's photos"):
        section(hold_out=shares)
