import json
import pickle

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from lts_keras.config.schema import ReferSource
from lts_keras.data.schema import DataError
from lts_keras.data.sources import open_source, read_source
from lts_keras.data.sources.refer import read_refs
from tests.lts_keras.data import data_trees, prepared


def section(dataset="refcoco", split_by="unc", **further):
    return ReferSource(**({"name": dataset, "dataset": dataset, "split_by": split_by, "photos": "photos"} | further))


@pytest.fixture
def tree(tmp_path):
    data_trees.write_refer(tmp_path)
    return tmp_path


def toolkit_mask(annotation, image):
    """`REFER.getMask`, for the forms of segmentation that COCO has."""
    segmentation, size = annotation["segmentation"], (image["height"], image["width"])
    if isinstance(segmentation, list):
        runs = coco_mask.frPyObjects(segmentation, *size)
    elif isinstance(segmentation["counts"], list):
        runs = [coco_mask.frPyObjects(segmentation, *size)]
    else:
        runs = [segmentation]
    return np.sum(coco_mask.decode(runs), axis=2) > 0


def check_against_toolkit(root, dataset, split_by, folder, config):
    """Every ref of the tree: mask pixel for pixel, box, category, split, every sentence."""
    refs = pickle.loads((folder / f"refs({split_by}).p").read_bytes())
    content = json.loads((folder / "instances.json").read_text())
    annotations = {item["id"]: item for item in content["annotations"]}
    images = {item["id"]: item for item in content["images"]}
    names = {item["id"]: item["name"] for item in content["categories"]}
    found = {item.ref_id: (photo, item) for photo in read_source(config, root) for item in photo.objects}
    assert len(found) == len(refs)
    for ref in refs:
        photo, item = found[str(ref["ref_id"])]
        annotation, image = annotations[ref["ann_id"]], images[ref["image_id"]]
        assert photo.photo_id == f"coco:{ref['image_id']}"
        assert (photo.height, photo.width) == (image["height"], image["width"])
        np.testing.assert_array_equal(item.mask, toolkit_mask(annotation, image))
        x, y, width, height = annotation["bbox"]
        assert item.box == pytest.approx((x, y, x + width, y + height))
        assert item.category == names[annotation["category_id"]]
        assert item.split == ref["split"]
        assert list(item.expressions) == [sentence["sent"] for sentence in ref["sentences"]]


def test_masks_and_sentences_are_those_of_the_toolkit(tree):
    check_against_toolkit(tree, "refcoco", "unc", tree / "refcoco", section())


@pytest.mark.parametrize(("dataset", "split_by"), [("refcoco", "unc"), ("refcoco+", "unc"), ("refcocog", "umd")])
def test_real_refs_are_those_of_the_toolkit(shared_data, dataset, split_by):
    root = shared_data / "data" / "refer"
    config = ReferSource(name=dataset, dataset=dataset, split_by=split_by)
    check_against_toolkit(root, dataset, split_by, root / dataset, config)


def test_photos_are_never_encoded_anew(tree):
    photo = next(iter(read_source(section(), tree)))
    assert photo.image_bytes == data_trees.jpeg(1)


def test_refs_to_one_object_share_its_mask(tree):
    refs = data_trees.refs()
    refs[1]["ann_id"] = 10
    (tree / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(refs))
    photo = next(iter(read_source(section(), tree)))
    assert photo.objects[0].mask is photo.objects[1].mask


def test_splits_are_renamed_and_dropped(tree):
    config = section(rename_splits={"val": "train", "train": "drop", "*": "test"})
    splits = {photo.photo_id: {item.split for item in photo.objects} for photo in read_source(config, tree)}
    assert splits == {"coco:3": {"train"}, "coco:4": {"test"}}


def test_data_sets_of_one_name_keep_their_refs_apart(tree):
    photo = next(iter(read_source(section(name="refer"), tree)))
    assert [item.ref_id for item in photo.objects] == ["refcoco:0", "refcoco:1"]
    assert {item.dataset for item in photo.objects} == {"refer"}


def python_2_pickle(refs):
    """Protocol 0 as Python 2 wrote it: `str` of bytes instead of text."""

    def encode(value):
        if isinstance(value, str):
            raw = value.encode("utf-8")
            text = "".join(
                chr(byte) if 32 <= byte < 127 and chr(byte) not in "'\\" else f"\\x{byte:02x}" for byte in raw
            )
            return f"S'{text}'\n".encode()
        if isinstance(value, int):
            return f"I{value}\n".encode()
        if isinstance(value, dict):
            return b"(d" + b"".join(encode(key) + encode(item) + b"s" for key, item in value.items())
        return b"(l" + b"".join(encode(item) + b"a" for item in value)

    return encode(refs) + b"."


def test_a_pickle_of_python_2_keeps_its_utf_8(tree):
    refs = data_trees.refs()
    refs[0]["sentences"][0]["sent"] = "café dog"
    (tree / "refcoco" / "refs(unc).p").write_bytes(python_2_pickle(refs))
    photo = next(iter(read_source(section(), tree)))
    assert photo.objects[0].expressions == ("café dog", "left dog")


class Evil:
    def __reduce__(self):
        return print, ("the pickle ran code",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_would_run_code_is_refused_by_name(tree, capsys, protocol):
    path = tree / "refcoco" / "refs(unc).p"
    path.write_bytes(pickle.dumps([*data_trees.refs(), Evil()], protocol))
    with pytest.raises(DataError, match=r"refs\(unc\).p: refused: .* would run (builtins|__builtin__).print"):
        open_source(section(), tree)
    assert "ran code" not in capsys.readouterr().out


def test_a_damaged_number_of_an_object_takes_no_memory(tmp_path):
    path = tmp_path / "refs(unc).p"
    # An empty list, kept as object 2,147,483,647.
    path.write_bytes(b"\x80\x02]r\xff\xff\xff\x7f.")
    assert read_refs(path) == []


def test_lists_in_lists_end_in_one_line(tree):
    many, own = [], []
    for _ in range(100):
        many = [many, many]
    own.append(own)
    for content in (many, own, [{"ref_id": many}], [own]):
        (tree / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(content))
        with pytest.raises(DataError, match=r"refs\(unc\).p: ref"):
            open_source(section(), tree)


def general_refs():
    """GRefCOCO: one object, two, none in its two spellings."""
    sentence = {"raw": "x", "sent": "the dog", "sent_id": 0, "tokens": ["the", "dog"]}
    rows = [(0, [10], False), (1, [10, 11], False), (2, [-1], True), (3, [], True)]
    return [
        {
            "ref_id": ref_id,
            "image_id": 1,
            "split": "val",
            "ann_id": keys,
            "category_id": [1] * len(keys),
            "no_target": empty,
            "sentences": [sentence],
        }
        for ref_id, keys, empty in rows
    ]


@pytest.mark.parametrize("change", [{"ann_id": [10]}, {"no_target": False}, {"ann_id": -1, "no_target": None}])
def test_a_target_and_none_contradict_each_other(tmp_path, change):
    path = tmp_path / "grefs(unc).json"
    path.write_text(json.dumps([general_refs()[2] | change]))
    with pytest.raises(DataError, match=r"ref 2 \(refs\[0\]\): ann_id: expected: .* as no_target is"):
        read_refs(path)


def test_several_objects_are_joined_and_none_is_an_empty_mask(tree):
    folder = tree / "grefcoco"
    folder.mkdir()
    (folder / "grefs(unc).json").write_text(json.dumps(general_refs()))
    (folder / "instances.json").write_text(json.dumps(data_trees.instances()))
    one, two, none, empty = next(iter(read_source(section("grefcoco"), tree))).objects
    assert (two.mask.sum(), two.box) == (one.mask.sum() + 25 * 25, (5, 5, 55, 35))
    assert two.category == "dog and person"
    for item in (none, empty):
        assert item.box is None
        assert item.mask.shape == (40, 60)
        assert not item.mask.any()


def test_general_refs_with_names_of_their_own_and_without_sentences(tmp_path):
    """As gRefCOCO has them: the name of a photo with a suffix, -1 and a box of zeros for no target, no sentences."""
    section = data_trees.write_refer(tmp_path, "grefcoco")
    (tmp_path / "grefcoco" / "refs(unc).p").unlink()
    refs = [ref | {"file_name": "COCO_train2014_000000000001_7.jpg"} for ref in general_refs()]
    refs[2] |= {"bbox": [0, 0, 0, 0], "category_id": [-1]}
    refs += [refs[0] | {"ref_id": 9, "sentences": []}, refs[2] | {"ref_id": 10, "no_target": None}]
    (tmp_path / "grefcoco" / "grefs(unc).json").write_text(json.dumps(refs))
    found, report = prepared.objects({"data": {"sources": [section]}}, tmp_path)
    assert [int(one["mask"].sum()) for one in found] == [500, 1125, 0, 0, 0]
    assert [one["box"] for one in found[:3]] == [(5, 5, 25, 30), (5, 5, 55, 35), (0, 0, 0, 0)]
    assert report["slices"]["grefcoco/val"]["no_target"] == 3
    assert [(row["reason"], row["count"]) for row in report["left_out"]] == [("no sentence", 1)]
    assert report["objects"] == {"read": 6, "kept": 5, "left_out": 1}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("refs(unc).p", None, "cannot read the file"),
        ("refs(unc).p", b"", "damaged pickle"),
        ("refs(unc).p", pickle.dumps({"a": 1}), "not the REFER layout"),
        ("refs(unc).p", pickle.dumps([{"image_id": 1}]), "'ref_id' is missing"),
        ("instances.json", None, "cannot read the file"),
        ("instances.json", b"{", "not JSON"),
        ("instances.json", b"[" * 100_000, "not JSON"),
        ("instances.json", b"[]", "not COCO's instances layout"),
        ("instances.json", b'{"images": [], "categories": []}', "'annotations' is missing"),
        ("instances.json", b'{"images": [], "categories": [], "annotations": []}', "ref 0 is of photo 1"),
    ],
)
def test_a_bad_file_is_named(tree, name, content, words):
    path = tree / "refcoco" / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        open_source(section(), tree)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_ref_to_an_annotation_of_another_photo_is_named(tree):
    refs = data_trees.refs()
    refs[0]["ann_id"] = 20
    (tree / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(refs))
    with pytest.raises(DataError, match="ref 0 points to annotation 20"):
        open_source(section(), tree)


def test_a_malformed_polygon_names_file_and_annotation(tree):
    content = data_trees.instances()
    content["annotations"][0]["segmentation"] = [[1, 2, "x", 4, 5, 6]]
    (tree / "refcoco" / "instances.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"instances.json: annotation 10: a polygon is"):
        list(read_source(section(), tree))


def test_a_photo_of_another_size_is_named(tree):
    (tree / "photos" / "000000000001.jpg").write_bytes(data_trees.jpeg(2))
    with pytest.raises(DataError, match=r"000000000001.jpg: the annotations are for 60 x 40 pixels. Received: 50 x 50"):
        list(read_source(section(), tree))
