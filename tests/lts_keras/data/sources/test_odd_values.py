"""Ids, sizes, text and outlines as tools write them: the value that is meant, or one line that says what is wrong."""

import json

import numpy as np
import pytest

from lts_keras.config.errors import ConfigError
from lts_keras.config.schema import CocoSource
from lts_keras.data.schema import DataError
from lts_keras.data.sources import read_source
from tests.lts_keras.data import data_trees
from tests.lts_keras.data.prepared import objects

OUTLINE = [10, 5, 20, 5, 20, 30, 10, 30]
MASK = np.zeros((40, 60), bool)
MASK[5:30, 10:20] = True
REF = {"ref_id": 1, "image_id": 1, "ann_id": 7, "sentences": ["the cup"]}
ANNOTATION = {"id": 7, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [10, 5, 10, 25]}
ANNOTATION = ANNOTATION | {"segmentation": [OUTLINE]}
IMAGE = {"id": 1, "file_name": "images/1.jpg", "height": 40, "width": 60}
SOURCE = {"kind": "coco", "name": "own", "instances": "i.json", "refs": "r.json", "photos": "."}


def write(root, image=None, annotation=None, ref=None, dump=lambda content: json.dumps(content).encode()):
    """One photo, one annotation and one ref, with other values in them."""
    (root / "images").mkdir()
    (root / "images" / "1.jpg").write_bytes(data_trees.jpeg(1))
    instances = {
        "images": [IMAGE | (image or {})],
        "annotations": [ANNOTATION | (annotation or {})],
        "categories": [{"id": 1, "name": "cup"}],
    }
    (root / "i.json").write_bytes(dump(instances))
    (root / "r.json").write_bytes(dump({"refs": [REF | (ref or {})]}))
    return {"data": {"sources": [SOURCE]}}


def check_meant(values, root):
    (photo,) = read_source(CocoSource(**values["data"]["sources"][0]), root)
    (found,) = photo.objects
    np.testing.assert_array_equal(found.mask, MASK)
    assert found.box == pytest.approx((10, 5, 20, 30), abs=0.3)
    assert (found.category, found.expressions, found.split, found.findings) == ("cup", ("the cup",), "train", ())


@pytest.mark.parametrize(
    "change",
    [
        {"image": {"id": "1"}, "annotation": {"id": "7"}, "ref": {"image_id": 1.0}},
        {
            "image": {"id": "one"},
            "annotation": {"id": "a", "image_id": "one"},
            "ref": {"image_id": "one", "ann_id": "a"},
        },
        {"annotation": {"category_id": 1.0}, "ref": {"ann_id": 7.0, "ref_id": "first"}},
        {"annotation": {"category_id": "1", "iscrowd": False, "area": None}},
        {"image": {"file_name": "images\\1.jpg", "height": 40.0}},
        {"image": {"height": None, "width": None}},
        {"annotation": {"bbox": [10.2, 4.9, 9.8, 25.1], "segmentation": [OUTLINE, [50, 20]]}},
        {"annotation": {"segmentation": [[[10, 5], [20, 5], [20, 30], [10, 30]]]}},
        {"annotation": {"segmentation": {"size": [40.0, 60], "counts": [405.0, *[25, 15] * 9, 25, 1610]}}},
        {"ref": {"sentences": [{"sent": "the cup", "raw": "The cup!"}], "split": None}},
    ],
)
def test_the_value_that_is_meant(tmp_path, change):
    check_meant(write(tmp_path, **change), tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "CRLF"])
def test_every_encoding_of_json(tmp_path, encoding):
    def dump(content):
        text = json.dumps(content, indent=1, ensure_ascii=False)
        return text.replace("\n", "\r\n").encode() if encoding == "CRLF" else text.encode(encoding)

    check_meant(write(tmp_path, dump=dump), tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"image": {"height": 0, "width": 0}},
            r"i.json: image 1 \(images\[0\]\): height: expected: a whole number of pix",
        ),
        ({"image": {"height": None}}, "i.json: image 1 .*: height: .* Received: null"),
        ({"image": {"width": 60.5}}, "i.json: image 1 .*: width: .* Received: 60.5"),
        ({"image": {"width": 10**30}}, "i.json: image 1 .*: width: .* Received: 1000"),
        ({"image": {"id": float("nan")}}, r"i.json: image \(images\[0\]\): id: .* Received: nan"),
        ({"annotation": {"id": float("nan")}}, r"i.json: annotation \(annotations\[0\]\): id: .* Received: nan"),
        ({"annotation": {"image_id": True}}, "i.json: annotation 7 .*: image_id: .* Received: true"),
        ({"annotation": {"image_id": "01"}}, 'i.json: annotation 7 .*: image_id: .* Received: "01"'),
        ({"annotation": {"segmentation": [[1, 2, 3]]}}, r"i.json: annotation 7: a polygon is .* Received: array"),
        ({"annotation": {"segmentation": [OUTLINE[:-1] + [True]]}}, "i.json: annotation 7: a polygon is"),
        ({"annotation": {"segmentation": OUTLINE}}, "i.json: annotation 7: a polygon is .* Received: 10"),
        ({"annotation": {"segmentation": [[10, 5, 20, 5]]}}, "empty masks: 1 of 1"),
        ({"ref": {"ann_id": 8}}, "r.json: ref 1 points to annotation 8"),
        ({"ref": {"ref_id": "one\ntwo", "ann_id": 8}}, r"r.json: ref one\\ntwo points to annotation 8"),
        ({"ref": {"split": "a/b"}}, 'r.json: ref 1: the name of a split is .* Received: "a/b"'),
        ({"ref": {"split": "x" * 101}}, "r.json: ref 1: the name of a split is one line of at most 100"),
        ({"ref": {"split": "train "}}, 'r.json: ref 1: the name of a split is .* Received: "train "'),
    ],
)
def test_a_wrong_value_is_one_line(tmp_path, change, words):
    values = write(tmp_path, **change)
    with pytest.raises(DataError, match=words) as caught:
        objects(values, tmp_path)
    assert str(caught.value).isprintable()


def test_nothing_in_the_place_of_an_annotation_is_named(tmp_path):
    values = write(tmp_path)
    content = json.loads((tmp_path / "i.json").read_text())
    content["annotations"].insert(0, None)
    (tmp_path / "i.json").write_text(json.dumps(content))
    with pytest.raises(
        DataError, match=r"i.json: annotation \(annotations\[0\]\): expected: an object .* Received: null"
    ):
        objects(values, tmp_path)


def test_corners_in_the_place_of_sides_are_found_with_both_boxes(tmp_path):
    values = write(tmp_path, annotation={"bbox": [10, 5, 20, 30]})
    with pytest.raises(
        DataError, match="box disagreements: 1 of 1.*the mask lies in 10, 5, 20, 30, its box says 10, 5, 30"
    ):
        objects(values, tmp_path)


def test_an_outline_half_outside_is_clipped(tmp_path):
    values = write(tmp_path, annotation={"segmentation": [[50, 30, 80, 30, 80, 50, 50, 50]], "bbox": [50, 30, 30, 20]})
    values["data"]["check"] = {"max_box_disagreements": 1.0}
    (found,), _ = objects(values, tmp_path)
    assert found["box"] == (50, 30, 60, 40) and found["mask"].sum() == 100 and found["mask"][30:, 50:].all()


@pytest.mark.parametrize("name", ["", "a/b", "val\n"])
def test_a_split_is_not_renamed_to_what_is_no_name(tmp_path, name):
    write(tmp_path)
    source = SOURCE | {"rename_splits": {"train": name}}
    with pytest.raises(DataError, match="data.sources of own: rename_splits: the name of a split is"):
        objects({"data": {"sources": [source]}}, tmp_path)


@pytest.mark.parametrize("name", ["", " ", "a\nb"])
def test_a_data_set_has_a_name_in_one_line(tmp_path, name):
    with pytest.raises(ConfigError, match="data.sources: the name of a data set is one line, not blank"):
        objects({"data": {"sources": [SOURCE | {"name": name}]}}, tmp_path)


def test_splits_of_long_names_are_kept_apart(tmp_path):
    values = write(tmp_path)
    refs = [REF | {"ref_id": number, "split": f"{number}".zfill(100)} for number in range(4)]
    (tmp_path / "r.json").write_text(json.dumps({"refs": refs}))
    found, _ = objects(values, tmp_path)
    assert sorted(one["split"] for one in found) == [ref["split"] for ref in refs]
