"""Annotated objects that nothing refers to: which ones come into a record, and what they change."""

import json

import numpy as np
import pytest
import tensorflow as tf

from lts_keras.config.read import parse_config
from lts_keras.data.input.annotated_objects import annotated_objects
from lts_keras.data.prepare import records
from lts_keras.data.prepare.prepare import prepare
from lts_keras.data.sources.open import open_source, read_source
from tests.lts_keras.data import data_trees

HOUND = data_trees.polygon_annotation(12, 1, (2, 30, 12, 38))
CROWD = data_trees.polygon_annotation(13, 1, (0, 0, 30, 9)) | {"iscrowd": 1}


def write(root, *further, drop_refs=()):
    """The tree of refs with further annotations in `instances.json`, and without some refs."""
    section = data_trees.write_refer(root)
    content = data_trees.instances()
    content["annotations"] += further
    (root / "refcoco" / "instances.json").write_text(json.dumps(content))
    refs = [ref for ref in data_trees.refs() if ref["ref_id"] not in drop_refs]
    (root / "refcoco" / "refs(unc).p").unlink()
    for ref in refs:
        ref["ann_id"] = [ref["ann_id"]]
    (root / "refcoco" / "grefs(unc).json").write_text(json.dumps(refs))
    return section


def photos(root, *sections):
    """Photo id -> `Photo` of all sections, not joined."""
    data = data_trees.config(root, *sections).data
    return [{photo.photo_id: photo for photo in read_source(one, root)} for one in data.sources]


def parsed(data_dir):
    found = {}
    for path in records.find_shards(data_dir):
        for serialized in records.read_records(path):
            record = records.parse_record(serialized)
            found[record["photo_id"].numpy().decode()] = record
    return found


def others(record):
    names = [name.decode() for name in record["other_category"].numpy()]
    return dict(zip(names, record["other_box"].numpy().tolist(), strict=True))


def test_what_nobody_refers_to_is_there_without_crowds(tmp_path):
    (found,) = photos(tmp_path, write(tmp_path, HOUND, CROWD))
    assert found["coco:1"].others == (("dog", (2.0, 30.0, 12.0, 38.0)),)
    assert found["coco:2"].others == ()


def test_a_damaged_annotation_that_nobody_refers_to_is_left_out(tmp_path):
    wrong = ({"bbox": [1, 2, 3]}, {"image_id": 99}, {"iscrowd": 7})
    damaged = [HOUND | {"id": 50 + number} | one for number, one in enumerate(wrong)]
    (found,) = photos(tmp_path, write(tmp_path, *damaged))
    assert found["coco:1"].others == ()
    assert len(found["coco:1"].objects) == 2


def test_what_several_are_meant_by_counts_one_by_one(tmp_path):
    section = write(tmp_path, HOUND, drop_refs=(0, 1))
    path = tmp_path / "refcoco" / "grefs(unc).json"
    refs = json.loads(path.read_text())
    path.write_text(json.dumps([*refs, data_trees.refs()[0] | {"ann_id": [10, 12]}, data_trees.refs()[1]]))
    record = parsed(prepare(data_trees.config(tmp_path, section), tmp_path / "work"))["coco:1"]
    assert record["several"].numpy().tolist() == [True, False]
    assert record["other_box"].numpy().tolist() == [[5, 5, 25, 30], [2, 30, 12, 38]]
    around = annotated_objects(record)
    assert around.rivals.numpy().tolist() == [-1, 0]
    assert sorted(around.categories.numpy().tolist()) == [b"dog", b"dog", b"person"]


def test_an_object_that_another_source_refers_to_is_no_other_one(tmp_path):
    first = write(tmp_path, HOUND, drop_refs=(1,))
    second = data_trees.write_refer(tmp_path, "refcoco+")
    both = data_trees.config(tmp_path, first, second)
    record = parsed(prepare(both, tmp_path / "work"))["coco:1"]
    # The person is another object for the first data set, and meant in the second.
    assert others(record) == {"dog": [2, 30, 12, 38]}
    around = annotated_objects(record)
    assert len(around.boxes) == 3
    assert around.rivals.numpy().tolist() == [1, 1, 0]


def test_objects_left_out_of_a_record_are_still_in_the_photo(tmp_path):
    section = write(tmp_path)
    path = tmp_path / "refcoco" / "grefs(unc).json"
    refs = json.loads(path.read_text())
    refs[0]["sentences"] = [{"sent": "?!"}]  # no word that can be read
    path.write_text(json.dumps(refs))
    config = data_trees.config(tmp_path, section, max_left_out=1.0)
    path.write_text(json.dumps(refs))
    assert others(parsed(prepare(config, tmp_path / "work"))["coco:1"]) == {"dog": [5, 5, 25, 30]}


def test_a_changed_other_object_makes_its_shard_again_and_thaws_nothing(tmp_path):
    section = write(tmp_path, HOUND)
    config = data_trees.config(tmp_path, section)
    config = parse_config(
        config.model_dump(mode="json") | {"data": config.data.model_dump(mode="json") | {"freeze": ["train"]}}
    )
    before = {path.name for path in prepare(config, tmp_path / "work").glob("*.tfrecord")}
    write(tmp_path, HOUND | {"bbox": [2, 30, 11, 8]})
    data_dir = prepare(config, tmp_path / "work")
    after = {path.name for path in data_dir.glob("*.tfrecord")}
    assert others(parsed(data_dir)["coco:1"]) == {"dog": [2, 30, 13, 38]}
    assert len(before - after) == len(after - before) == 1


@pytest.mark.parametrize("flags", ["objects", "crowds"])
def test_what_a_crowd_is_the_configuration_says(tmp_path, flags):
    data_trees.write_refer(tmp_path)
    content = data_trees.instances()
    content["annotations"].append(CROWD)
    (tmp_path / "instances.json").write_text(json.dumps(content))
    refs = {"refs": [{"ref_id": 1, "image_id": 1, "ann_id": 10, "sentences": ["dog"]}]}
    (tmp_path / "refs.json").write_text(json.dumps(refs))
    section = {"kind": "coco", "name": "own", "photos": "photos", "instances": "instances.json", "refs": "refs.json"}
    (found,) = photos(tmp_path, section | {"crowd_flags": flags, "split": "train"})
    expected = [("person", (30.0, 10.0, 55.0, 35.0)), ("dog", (0.0, 0.0, 30.0, 9.0))]
    assert list(found["coco:1"].others) == expected[: 2 if flags == "objects" else 1]


def test_drawn_shapes_are_referred_to_or_others():
    config = parse_config({"data": {"sources": [{"kind": "scenes", "num_photos": {"train": 20}, "max_shapes": 6}]}})
    source = open_source(config.data.sources[0], ".")
    found = [source.read(entry.key) for entry in source.entries()]
    assert sum(len(photo.others) for photo in found) > 5
    for photo in found:
        boxes = {item.box for item in photo.objects}
        for _, box in photo.others:
            assert box not in boxes
            x0, y0, x1, y1 = box
            assert 0 <= x0 < x1 <= photo.width
            assert 0 <= y0 < y1 <= photo.height


def test_rivals_of_a_record():
    record = {
        "category": np.array([b"dog", b"dog", b"", b"cat", b"dog"]),
        # One dog twice, to a rounding of its box; something without class; a cat; and no target.
        "box": np.array([[0, 0, 4, 4], [0, 0.2, 4, 4], [1, 1, 2, 2], [5, 5, 9, 9], [0, 0, 0, 0]], "float32"),
        "several": np.zeros(5, bool),
        "other_category": np.array([b"dog", b"dog", b"cup"]),
        "other_box": np.array([[4, 4, 6, 6], [4.1, 4, 6, 6], [0, 0, 4, 4]], "float32"),
    }
    around = annotated_objects({name: tf.constant(value) for name, value in record.items()})
    assert around.rivals.numpy().tolist() == [1, 1, -1, 0, -1]
    kept = list(zip(around.categories.numpy().tolist(), around.boxes.numpy().tolist(), strict=True))
    expected = [(b"dog", [0, 0, 4, 4]), (b"", [1, 1, 2, 2]), (b"cat", [5, 5, 9, 9])]
    assert kept == [*expected, (b"dog", [4, 4, 6, 6]), (b"cup", [0, 0, 4, 4])]
