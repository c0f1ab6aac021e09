import json

import jsonschema
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from lts_keras.config.schema import ManifestSource
from lts_keras.data.prepare.masks import encode_mask
from lts_keras.data.schema import DataError
from lts_keras.data.sources import open_source, read_source
from lts_keras.data.sources.manifest_line import manifest_schema
from tests.lts_keras.data import data_trees

MASK = np.zeros((40, 60), bool)
MASK[5:30, 10:20] = True


def item(**region):
    return {"expressions": ["it"], **region}


def line(*objects, **further):
    return {"image": "a.jpg", "objects": list(objects), **further}


def read(folder, *lines, **further):
    (folder / "a.jpg").write_bytes(data_trees.jpeg(1))
    (folder / "b.png").write_bytes(data_trees.jpeg(2, kind="PNG"))
    (folder / "mask.png").write_bytes(encode_mask(MASK))
    text = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines)
    (folder / "own.jsonl").write_text(text, encoding="utf-8")
    return list(read_source(ManifestSource(name="own", file="own.jsonl", **further), folder))


def compressed(mask):
    runs = coco_mask.encode(np.asfortranarray(mask.astype("uint8")))
    return {"size": list(mask.shape), "counts": runs["counts"].decode()}


@pytest.mark.parametrize(
    "region",
    [
        {"polygons": [[10, 5, 20, 5, 20, 30, 10, 30]]},
        {"mask": "mask.png"},
        {"rle": compressed(MASK)},
        {"mask": "mask.png", "box": [10, 5, 20, 30]},
    ],
)
def test_every_form_of_region_gives_the_same_object(tmp_path, region):
    (photo,) = read(tmp_path, line(item(**region, category="thing")))
    (found,) = photo.objects
    np.testing.assert_array_equal(found.mask, MASK)
    assert found.box == pytest.approx((10, 5, 20, 30))
    assert (found.ref_id, found.split, found.category) == ("1-0", "train", "thing")


def test_a_box_alone_and_no_target(tmp_path):
    (photo,) = read(tmp_path, line(item(box=[1, 2, 30, 20]), item(no_target=True)))
    box, none = photo.objects
    assert (box.mask, box.box) == (None, (1, 2, 30, 20))
    assert none.box is None
    assert not none.mask.any()


def test_photos_keep_their_place_among_blank_lines_and_other_alphabets(tmp_path):
    lines = [line(item(box=[0, 0, 5, 5], expressions=["кружка"])), "", line(item(box=[0, 0, 5, 5]), image="b.png")]
    first, second = read(tmp_path, *lines)
    assert first.objects[0].expressions == ("кружка",)
    assert (second.photo_id, second.height, second.objects[0].ref_id) == ("own:b.png", 50, "3-0")


def test_splits_of_photos_objects_and_the_configuration(tmp_path):
    lines = [line(item(box=[0, 0, 5, 5], split="test"), item(box=[0, 0, 5, 5]), split="dev")]
    (photo,) = read(tmp_path, *lines, rename_splits={"dev": "val"})
    assert [one.split for one in photo.objects] == ["test", "val"]


def test_a_coco_number_gives_the_same_photo_as_in_other_data_sets(tmp_path):
    (photo,) = read(tmp_path, line(item(box=[0, 0, 5, 5]), coco_id=42))
    assert photo.photo_id == "coco:42"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "line 1: Invalid JSON"),
        (line(), "line 1: objects"),
        (line(item()), "one of polygons, rle, mask .* Received: none"),
        (line(item(no_target=True, box=[1, 2, 3, 4])), "Received: no_target, box"),
        (line(item(mask="mask.png", polygons=[[1, 1, 2, 2, 3, 3]])), "Received: polygons, mask"),
        (line(item(box=[1, 2, 3])), "objects.0.box: List should have at least 4"),
        (line(item(box=[30, 2, 3, 4])), "x0 < x1"),
        (line(item(box=[0, 0, 5, "5"])), "objects.0.box.3: Input should be a valid number"),
        (line(item(mask="other.png")), "no such mask: .*other.png"),
        (line({"box": [0, 0, 5, 5]}), "objects.0.expressions: Field required"),
        (line(item(box=[0, 0, 5, 5]), image="gone.jpg"), "gone.jpg: cannot read the photo"),
        (line(item(mask="mask.png"), image="b.png"), "mask.png: the photo is 50 x 50 pixels. Received: 60 x 40"),
        (line(item(rle={"size": [40, 60], "counts": [1]})), "line 1: object 0: run lengths"),
        ("", "no line"),
    ],
)
def test_a_bad_line_is_named(tmp_path, content, words):
    with pytest.raises(DataError, match=words) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(DataError, match="own.jsonl: cannot read the manifest"):
        open_source(ManifestSource(name="own", file="own.jsonl"), tmp_path)


def test_the_schema_file_is_that_of_the_reader(repo):
    path = repo / "lts_keras" / "data" / "manifest.schema.json"
    assert json.loads(path.read_text()) == manifest_schema(), f"write json.dumps(manifest_schema(), indent=1) to {path}"


def test_the_schema_refuses_what_the_reader_refuses():
    schema = manifest_schema()
    jsonschema.validate(line(item(box=[0, 0, 5, 5])), schema)
    for wrong in (line(), line({"box": [0, 0, 5, 5]}), line(item(box=[0, 0, 5])), line(item(boxes=[0, 0, 5, 5]))):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)
