import json
import re

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from lts_keras.config.schema import ParquetSource, ReferSource
from lts_keras.data.schema import DataError
from lts_keras.data.sources import open_source, read_source
from tests.lts_keras.data import data_trees


def write(path, rows, **options):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, **options)


def section(*files, **further):
    return ParquetSource(**({"name": "refcoco", "files": files} | further))


def rows_of_refs():
    """The columns of `jxu124/refcoco`."""
    content = data_trees.instances()
    annotations = {item["id"]: item for item in content["annotations"]}
    images = {item["id"]: item for item in content["images"]}
    return [
        ref
        | {
            "raw_anns": json.dumps(annotations[ref["ann_id"]]),
            "raw_image_info": json.dumps(images[ref["image_id"]]),
            "raw_sentences": json.dumps(ref["sentences"]),
            "image_path": f"coco/train2014/{ref['file_name']}",
            "bbox": [0.0, 0.0, 1.0, 1.0],
            "category_id": 18,
        }
        for ref in data_trees.refs()
    ]


def test_refs_as_rows_are_those_of_the_refer_tree(tmp_path):
    data_trees.write_refer(tmp_path)
    rows = rows_of_refs()
    write(tmp_path / "train-00000-of-00001.parquet", [row for row in rows if row["split"] == "train"])
    write(tmp_path / "test-00000-of-00001.parquet", [row for row in rows if row["split"] != "train"])
    found = {photo.photo_id: photo for photo in read_source(section("*.parquet", photos="photos"), tmp_path)}
    tree = ReferSource(name="refcoco", dataset="refcoco", split_by="unc", photos="photos")
    for expected in read_source(tree, tmp_path):
        photo = found[expected.photo_id]
        assert photo.image_bytes == expected.image_bytes
        for one, other in zip(photo.objects, expected.objects, strict=True):
            np.testing.assert_array_equal(one.mask, other.mask)
            assert (one.ref_id, one.split, one.expressions, one.box) == (
                other.ref_id,
                other.split,
                other.expressions,
                other.box,
            )
            assert one.category == "dog"


def test_refs_without_a_folder_of_photos_say_so(tmp_path):
    write(tmp_path / "train.parquet", rows_of_refs())
    with pytest.raises(DataError, match="needs `photos`"):
        open_source(section("train.parquet"), tmp_path)


def rows_of_objects():
    """The columns of `lmms-lab/RefCOCO`: a photo stands in the row of each of its objects."""
    return [
        {
            "question_id": str(number),
            "image": {"bytes": data_trees.jpeg(image_id), "path": "0.jpg"},
            "question": "What is here?",
            "answer": [f"thing {number}", "it"],
            "segmentation": [5.0, 5.0, 25.0, 5.0, 25.0, 30.0, 5.0, 30.0],
            "bbox": [5.0, 5.0, 20.0, 25.0],
            "iscrowd": 0,
            "file_name": f"COCO_train2014_{image_id:012d}_{number}.jpg",
        }
        for number, image_id in enumerate((1, 1, 2, 3, 4))
    ]


def test_objects_as_rows_are_joined_by_photo(tmp_path):
    write(tmp_path / "testA-00000-of-00001.parquet", rows_of_objects(), row_group_size=2)
    write(tmp_path / "validation-00000-of-00001.parquet", rows_of_objects()[:1])
    photos = {photo.photo_id: photo for photo in read_source(section("*.parquet"), tmp_path)}
    assert list(photos) == ["coco:1", "coco:2", "coco:3", "coco:4"]
    assert [item.ref_id for item in photos["coco:1"].objects] == ["testA:0", "testA:1", "val:0"]
    assert [item.split for item in photos["coco:1"].objects] == ["testA", "testA", "val"]
    for number, photo in enumerate(photos.values(), start=1):
        assert photo.image_bytes == data_trees.jpeg(number)
        assert photo.objects[0].mask[5:30, 5:25].all()
        assert photo.objects[0].box == (5, 5, 25, 30)


def rows_of_photos():
    """The columns of `moondream/refcoco-m`."""
    content = data_trees.instances()
    (runs,) = (item["segmentation"] for item in content["annotations"] if item["id"] == 42)
    samples = [
        {
            "id": number,
            "image_id": 4,
            "category": "cat",
            "supercategory": "animal",
            "label": "cat",
            "sentences": ["the cat", "cat"],
            "bbox": [50.0, 5.0, 20.0, 15.0],
            "mask": runs,
        }
        for number in (8, 9)
    ]
    image = {"bytes": data_trees.jpeg(4), "path": None}
    return [{"image": image, "image_id": 4, "file_name": "COCO_4.jpg", "samples": samples}]


def test_photos_as_rows(tmp_path):
    write(tmp_path / "validation-00000-of-00002.parquet", rows_of_photos())
    (photo,) = read_source(section("validation-*"), tmp_path)
    assert [(item.ref_id, item.split, item.expressions) for item in photo.objects] == [
        ("8", "val", ("the cat", "cat")),
        ("9", "val", ("the cat", "cat")),
    ]
    assert photo.objects[0].mask[5:20, 50:70].all()
    assert photo.objects[0].mask.sum() == 15 * 20


def test_unknown_columns_name_what_is_missing(tmp_path):
    write(tmp_path / "x.parquet", [{"image": 1, "image_id": 1, "file_name": "a"}])
    with pytest.raises(DataError, match="x.parquet: no known layout .* lacks the columns samples"):
        open_source(section("x.parquet"), tmp_path)


def test_no_file_names_the_pattern(tmp_path):
    with pytest.raises(DataError, match=r"no file fits .* train-\*"):
        open_source(section("train-*"), tmp_path)


@pytest.mark.parametrize("pattern", ["", "/val.parquet", "**val.parquet"])
def test_what_is_no_pattern_is_named(tmp_path, pattern):
    with pytest.raises(DataError, match=rf'files: a pattern is relative .* Received: "{re.escape(pattern)}"'):
        open_source(section(pattern), tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ann_id": 11}, r"raw_anns .*: id: expected: 11, as in the row's columns. Received: 10"),
        ({"image_id": 2}, r"raw_image_info .*: id: expected: 2"),
        ({"raw_anns": "7"}, r"raw_anns .*: expected: an object with keys"),
        ({"raw_anns": "{"}, r"row 0 .*: raw_anns: expected: JSON"),
        ({"sentences": [{"raw": "x"}]}, r"row 0 .*: sentences\[0\].sent: expected: text. Received: null"),
        ({"sentences": None}, "row 0 .*: sentences: expected: a list"),
        ({"category_id": 1.5}, "row 0 .*: category_id: expected: a whole number"),
    ],
)
def test_rows_that_contradict_themselves_are_named(tmp_path, change, words):
    write(tmp_path / "train.parquet", [rows_of_refs()[0] | change])
    with pytest.raises(DataError, match=rf"train.parquet: {words}"):
        open_source(section("train.parquet", photos="photos"), tmp_path)


def test_rows_that_contradict_each_other_are_named(tmp_path):
    one, two = rows_of_refs()[:2]
    info = json.loads(two["raw_image_info"]) | {"file_name": "b.jpg"}
    write(tmp_path / "name.parquet", [one, two | {"raw_image_info": json.dumps(info)}])
    with pytest.raises(DataError, match='file_name: expected: "000000000001.jpg", as in a row before'):
        open_source(section("name.parquet", photos="photos"), tmp_path)
    (row,) = rows_of_photos()
    write(tmp_path / "val.parquet", [row, row | {"image": {"bytes": data_trees.jpeg(1), "path": None}}])
    with pytest.raises(DataError, match="image_id: expected: another id: .*row 0 of group 0 has this one, and another"):
        open_source(section("val.parquet"), tmp_path)


@pytest.mark.parametrize("category", [18, 18.0, "18"])
def test_classes_of_rows_compare_by_value(tmp_path, category):
    data_trees.write_refer(tmp_path)
    write(tmp_path / "train.parquet", [rows_of_refs()[0] | {"category_id": category}])
    (photo,) = read_source(section("train.parquet", photos="photos"), tmp_path)
    assert (photo.objects[0].category, photo.objects[0].findings) == ("dog", ())


@pytest.mark.parametrize("place", [0.02, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_file_is_one_clear_line_or_still_whole(tmp_path, place, damage):
    path = tmp_path / "testA-0.parquet"
    write(path, rows_of_objects())
    content = bytearray(path.read_bytes())
    position = int(place * len(content))
    content[position] ^= 0x10
    path.write_bytes(content[:position] if damage == "cut" else content)
    try:
        assert len(list(read_source(section("testA-*"), tmp_path))) == 4
    except DataError as error:
        assert "testA-0.parquet" in str(error)
        assert "\n" not in str(error)
