"""Which photo, which object: ids that stand twice, in one file or in several, by mistake or because they are local."""

import io
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from lts_keras.config.read import parse_config
from lts_keras.data.checks.check import read_report
from lts_keras.data.prepare.prepare import prepare
from lts_keras.data.prepare.read import look_alike
from lts_keras.data.schema import DataError
from lts_keras.data.sources.base import PhotoError, describe_photo
from tests.lts_keras.data.data_trees import polygon_annotation
from tests.lts_keras.data.prepared import objects

LEFT, RIGHT = (5, 5, 20, 30), (40, 5, 55, 30)


def patch(box=LEFT, quality=None):
    """A photo of one size for all, grey but for one red box; a JPEG of a quality, or a PNG."""
    pixels = np.full((40, 60, 3), 90, "uint8")
    pixels[box[1] : box[3], box[0] : box[2]] = [220, 20, 20]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, *(["PNG"] if quality is None else ["JPEG"]), quality=quality or 75)
    return buffer.getvalue()


def write_task(folder, box, name="a.png"):
    """One photo and one ref in it, every id 1; with the photo, which is red where the ref is."""
    folder.mkdir(parents=True)
    (folder / name).write_bytes(patch(box))
    images = [{"id": 1, "file_name": name, "height": 40, "width": 60}]
    content = {"images": images, "annotations": [polygon_annotation(1, 1, box)]}
    (folder / "i.json").write_text(json.dumps(content | {"categories": [{"id": 1, "name": "cup"}]}))
    refs = [{"ref_id": 1, "image_id": 1, "ann_id": 1, "sentences": ["it"], "split": "train"}]
    (folder / "r.json").write_text(json.dumps({"refs": refs}))


def task(folder, **further):
    return {
        "kind": "coco",
        "name": "own",
        "instances": f"{folder}/i.json",
        "refs": f"{folder}/r.json",
        "photos": folder,
    } | further


def check_masks(found, count):
    """Every mask lies where its own photo is red."""
    assert len(found) == count
    for one in found:
        np.testing.assert_array_equal(one["mask"], one["pixels"][..., 0] > 150)


def kinds(report):
    return {finding["kind"]: finding["count"] for finding in report["findings"]}


def test_three_files_of_one_name_and_of_equal_ids(tmp_path):
    for folder, box in (("a", LEFT), ("b", RIGHT), ("c", (20, 10, 40, 35))):
        write_task(tmp_path / folder, box)
    found, report = objects({"data": {"sources": [task("a"), task("b"), task("c")]}}, tmp_path)
    check_masks(found, 3)
    assert len({one["photo"] for one in found}) == 3 and "duplicate_ref_ids" not in kinds(report)


def test_two_trees_of_one_name(tmp_path):
    for folder, box in (("a", LEFT), ("b", RIGHT)):
        write_task(tmp_path / folder / "refcoco", box)
        (tmp_path / folder / "refcoco" / "i.json").rename(tmp_path / folder / "refcoco" / "instances.json")
        refs = [{"ref_id": 1, "image_id": 1, "ann_id": 1, "split": "val", "sentences": [{"sent": "it"}]}]
        (tmp_path / folder / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(refs))
    tree = {"kind": "refer", "name": "refcoco", "dataset": "refcoco", "split_by": "unc", "photos": "refcoco"}
    found, report = objects({"data": {"sources": [tree | {"folder": "a"}, tree | {"folder": "b"}]}}, tmp_path)
    check_masks(found, 2)
    assert report["photos"]["total"] == 2


def test_a_photo_in_two_files_leaks_by_content_or_is_told(tmp_path):
    write_task(tmp_path / "a", LEFT)
    write_task(tmp_path / "b", LEFT, "other.png")
    with pytest.raises(DataError, match=r"a/i.json:1 \(as b/i.json:1, by content\)"):
        objects({"data": {"sources": [task("a"), task("b", rename_splits={"*": "val"})]}}, tmp_path)
    found, report = objects({"data": {"sources": [task("a"), task("b")]}}, tmp_path)
    check_masks(found, 2)
    assert kinds(report) == {"same_photos": 1}


@pytest.mark.parametrize("other", ["a.png", "./a.png", "b/../a.png"])
def test_a_photo_under_two_ids_is_one_photo_to_made_up_sentences(tmp_path, other):
    (tmp_path / "b").mkdir()
    (tmp_path / "a.png").write_bytes(patch())
    images = [{"id": key, "file_name": name, "height": 40, "width": 60} for key, name in ((1, "a.png"), (2, other))]
    content = {"images": images, "annotations": [polygon_annotation(1, 1, LEFT), polygon_annotation(2, 2, RIGHT)]}
    (tmp_path / "i.json").write_text(json.dumps(content | {"categories": [{"id": 1, "name": "cup"}]}))
    source = {"kind": "coco", "name": "own", "instances": "i.json", "photos": "."}
    (left, right), report = objects({"data": {"sources": [source]}}, tmp_path)
    assert "left cup" in left["texts"] and "right cup" in right["texts"]
    assert not {"cup", "the cup", "a cup"} & {*left["texts"], *right["texts"]}
    assert kinds(report) == {"same_photos": 1}


def numbered(*names):
    """A manifest in which every photo says to be number 7 of COCO."""
    lines = [
        {"image": name, "coco_id": 7, "objects": [{"expressions": [f"it {at}"], "polygons": [corners]}]}
        for at, (name, corners) in enumerate(names)
    ]
    return "\n".join(map(json.dumps, lines))


def test_one_number_of_coco_on_two_photos_mixes_none(tmp_path):
    outlines = [polygon_annotation(1, 1, box)["segmentation"][0] for box in (LEFT, RIGHT, LEFT)]
    names = ("left.png", "right.png", "again.jpg")
    for name, content in zip(names, (patch(LEFT), patch(RIGHT), patch(LEFT, 60)), strict=True):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "own.jsonl").write_text(numbered(*zip(names, outlines, strict=True)))
    found, _ = objects({"data": {"sources": [{"kind": "manifest", "name": "own", "file": "own.jsonl"}]}}, tmp_path)
    # The copy that was compressed anew is the same photo, the other one is not.
    left, again, right = found
    check_masks([left, right], 2)
    assert left["photo"] == again["photo"] == "coco:7" and right["photo"].startswith("coco:7@60x40-")
    np.testing.assert_array_equal(again["mask"], left["mask"])


@pytest.mark.parametrize("quality", [30, 75])
def test_copies_of_real_photos_look_alike_and_other_photos_do_not(shared_data, quality):
    paths = sorted((shared_data / "data/coco/images").glob("*.jpg"))[:12]
    contents = [path.read_bytes() for path in paths]
    for content, other in zip(contents, contents[1:], strict=False):
        buffer = io.BytesIO()
        Image.open(io.BytesIO(content)).save(buffer, "JPEG", quality=quality)
        assert look_alike(content, buffer.getvalue())
        assert not look_alike(content, other)
    assert not look_alike(contents[0], contents[0][:300])


def test_keys_that_stand_twice_are_named(tmp_path):
    write_task(tmp_path / "a", LEFT)
    text = (tmp_path / "a" / "i.json").read_text()
    (tmp_path / "a" / "i.json").write_text(text.replace('"category_id": 1', '"category_id": 1, "category_id": 2'))
    with pytest.raises(DataError, match='i.json: not JSON: an object of id 1 has the key "category_id" twice'):
        objects({"data": {"sources": [task("a")]}}, tmp_path)


def test_a_header_of_a_huge_photo_is_read_without_a_warning():
    def header(side):
        content = bytearray(patch())
        content[16:24] = side.to_bytes(4, "big") * 2
        return bytes(content)

    with pytest.raises(PhotoError, match="x: not a readable JPEG or PNG"):
        describe_photo(header(10_000), "x")


def test_the_report_tells_of_a_class_without_a_word(tmp_path):
    write_task(tmp_path / "a", LEFT)
    text = (tmp_path / "a" / "i.json").read_text()
    (tmp_path / "a" / "i.json").write_text(text.replace('"cup"', '"?!"'))
    config = {"data": {"root": str(tmp_path), "sources": [task("a", refs=None)]}}
    with pytest.raises(DataError, match="1 left out: unknown class"):
        prepare(parse_config(config), tmp_path / "runs")
    with pytest.raises(DataError):
        read_report(tmp_path / "runs" / "data")
