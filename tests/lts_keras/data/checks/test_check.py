import contextlib
import dataclasses
import io
import json
import pickle
import re

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from lts_keras.data.checks.check import raise_if_stopped, read_report, validate
from lts_keras.data.checks.statistics import Statistics, add_up
from lts_keras.data.prepare import records
from lts_keras.data.prepare.prepare import prepare
from lts_keras.data.schema import DataError, Photo, ReferredObject
from tests.lts_keras.data import data_trees


@pytest.fixture
def tree(tmp_path):
    return tmp_path / "tree", data_trees.write_refer(tmp_path / "tree")


def change_refs(root, change):
    refs = data_trees.refs()
    change(refs)
    (root / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(refs))


def change_instances(root, change):
    content = data_trees.instances()
    change(content)
    (root / "refcoco" / "instances.json").write_text(json.dumps(content))


def check(root, section, workdir, **limits):
    config = data_trees.config(root, section, **limits)
    with contextlib.suppress(DataError):
        prepare(config, workdir, check_only=True)
    return read_report(workdir / "data")


def test_sound_data_has_no_finding(tree, tmp_path):
    report = check(*tree, tmp_path)
    assert report["stops"] == []
    assert report["photos"] == {"total": 4, "unreadable_photos": 0, "size_mismatches": 0}
    train = report["slices"]["refcoco/train"]
    assert (train["photos"], train["refs"], train["expressions"]) == (2, 3, 5)
    assert train["classes"] == {"dog": 2, "person": 1}
    assert sum(train["areas"]) == 3


@pytest.mark.parametrize("damage", ["missing", "cut", "text", "empty", "webp"])
def test_an_unreadable_photo_is_counted_and_named(tree, tmp_path, damage):
    root, section = tree
    path = root / "photos" / "000000000001.jpg"
    content = {
        "cut": path.read_bytes()[:-200],
        "text": b"<html>",
        "empty": b"",
        "webp": data_trees.jpeg(1, kind="WEBP"),
    }
    path.unlink() if damage == "missing" else path.write_bytes(content[damage])
    report = check(root, section, tmp_path)
    assert report["photos"]["unreadable_photos"] == 1
    (line,) = report["stops"]
    assert "unreadable photos: 1 of 4, more than data.check.max_unreadable_photos: 0" in line
    assert "000000000001.jpg" in line
    assert check(root, section, tmp_path, max_unreadable_photos=0.5)["stops"] == []


def test_the_rest_is_written_where_some_unreadable_photos_are_allowed(tree, tmp_path):
    root, section = tree
    (root / "photos" / "000000000001.jpg").unlink()
    data_dir = prepare(data_trees.config(root, section, max_unreadable_photos=0.5), tmp_path)
    assert sum(shard["photos"] for shard in records.read_manifest(data_dir)["shards"]) == 3


def test_a_photo_of_another_size_is_counted(tree, tmp_path):
    root, section = tree
    (root / "photos" / "000000000001.jpg").write_bytes(data_trees.jpeg(2))
    report = check(root, section, tmp_path)
    assert report["photos"]["size_mismatches"] == 1
    assert "60 x 40 pixels. Received: 50 x 50" in report["stops"][0]


def test_empty_masks_are_counted_and_left_out(tree, tmp_path):
    root, section = tree
    change_instances(root, lambda content: content["annotations"][0].update(segmentation=[[1, 1, 2, 2]]))
    report = check(root, section, tmp_path)
    assert report["slices"]["refcoco/train"]["empty_masks"] == 1
    assert report["slices"]["refcoco/train"]["refs"] == 2
    assert "refcoco/train: empty masks: 1 of 3" in report["stops"][0]


def test_boxes_that_disagree_or_lie_outside_are_counted(tree, tmp_path):
    root, section = tree

    def change(content):
        content["annotations"][0]["bbox"] = [5, 5, 40, 25]
        content["annotations"][1]["bbox"] = [30, 10, 45, 25]
        content["annotations"][1]["segmentation"] = [[30, 10, 75, 10, 75, 35, 30, 35]]

    change_instances(root, change)
    train = check(root, section, tmp_path)["slices"]["refcoco/train"]
    assert (train["box_disagreements"], train["boxes_outside"]) == (2, 1)


def test_sentences_are_counted(tree, tmp_path):
    root, section = tree

    def change(refs):
        texts = ["one two " * 10, "left dog", "left dog", "  ", "right one"]
        refs[0]["sentences"] = [{"sent": text} for text in texts]
        refs[5]["sentences"] = [{"sent": "strange words"}]
        refs[6]["sentences"] = [{"sent": "left cat"}]

    change_refs(root, change)
    report = check(root, section, tmp_path, max_unknown_words=0.5)
    train = report["slices"]["refcoco/train"]
    found = {key: train[f"{key}_expressions"] for key in ("empty", "duplicate", "too_long", "ambiguous")}
    assert found == {"empty": 1, "duplicate": 1, "too_long": 1, "ambiguous": 1}
    # "strange words" and "left cat": three of four words are not in train.
    assert report["slices"]["refcoco/testB"]["unknown_words"] == 0.75
    assert any(re.search("refcoco/testB: 75.0% of the words are not in train", line) for line in report["stops"])


def test_a_ref_id_that_stands_twice_stops(tree, tmp_path):
    root, section = tree
    change_refs(root, lambda refs: refs[1].update(ref_id=0))
    assert check(root, section, tmp_path)["stops"] == ["a ref id stands twice in one data set: refcoco: 0"]


def test_published_counts_stop_when_asked(tree, tmp_path):
    report = check(*tree, tmp_path)
    train = next(row for row in report["published"] if row["split"] == "train")
    assert (train["refs"], train["published_refs"], train["equal"]) == (3, 42404, False)
    report = check(*tree, tmp_path, published_counts=True)
    assert "has 3 refs and 5 expressions; published are 42404 and 120624" in report["stops"][0]


def test_the_error_names_finding_number_and_page(tree, tmp_path):
    root, section = tree
    for number in (1, 3):
        (root / "photos" / f"{number:012d}.jpg").unlink()
    change_refs(root, lambda refs: refs[5].update(ref_id=7))
    with pytest.raises(DataError, match=r"unreadable photos: 2 of 4.*\(and 1 more\); see .*report.html") as caught:
        prepare(data_trees.config(root, section), tmp_path)
    assert "\n" not in str(caught.value)


def test_the_page_holds_everything_itself(tree, tmp_path):
    root, section = tree
    change_refs(root, lambda refs: refs[0]["sentences"][0].update(sent="<script>alert(1)</script>"))
    prepare(data_trees.config(root, section), tmp_path)
    page = (tmp_path / "data" / "check" / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") >= 4
    assert page.count("<svg") == 2
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    for name in ("refcoco/train", "refcoco/val", "refcoco/testB"):
        assert f"<td>{name}</td>" in page


def test_counts_of_shards_add_up():
    mask = np.zeros((10, 10), bool)
    mask[2:5, 2:5] = True
    item = ReferredObject("1", "own", "train", ("it",), mask, (2.0, 2.0, 5.0, 5.0), "dog")
    photo = Photo("a", b"", 10, 10, (item,))
    other = dataclasses.replace(photo, objects=(dataclasses.replace(item, ref_id="2", category="cat"), item))
    apart, together = [Statistics(), Statistics()], Statistics()
    for statistics, one in zip(apart, (photo, other), strict=True):
        statistics.add(one)
        together.add(one)
    parts = [json.loads(json.dumps(statistics.to_json())) for statistics in apart]
    assert add_up(parts) == together.to_json()


def test_validate_finds_a_record_of_another_form(tree, tmp_path):
    config = data_trees.config(*tree)
    data_dir = prepare(config, tmp_path)
    manifest = records.read_manifest(data_dir)
    shard = manifest["shards"][0]
    with tf.io.TFRecordWriter(str(data_dir / shard["file"])) as writer:
        writer.write(tf.train.Example().SerializeToString())
    path = data_dir / shard["file"]
    shard |= {"sha256": records.digest(path), "bytes": path.stat().st_size}
    records.write_manifest(data_dir, manifest.pop("shards"), **{k: v for k, v in manifest.items() if k != "format"})
    with pytest.raises(DataError, match="a record is not of this library's form"):
        validate(config, tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"stops": 1, "warnings": []}', None])
def test_a_damaged_report_is_no_report(tmp_path, content):
    (tmp_path / "check").mkdir()
    if content is not None:
        (tmp_path / "check" / "report.json").write_text(content)
    with pytest.raises(DataError, match="run `lts prepare`"):
        raise_if_stopped(read_report(tmp_path), tmp_path)


FILES = ("refcoco/refs(unc).p", "refcoco/instances.json", "photos/000000000001.jpg")


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzzed")
    return root, data_trees.write_refer(root / "tree"), {name: (root / "tree" / name).read_bytes() for name in FILES}


@hypothesis.settings(max_examples=40)
@hypothesis.given(name=st.sampled_from(FILES), place=st.integers(0, 10**7), bit=st.integers(0, 7), cut=st.booleans())
def test_a_damaged_file_gives_one_line_or_sound_data(fuzzed, name, place, bit, cut):
    """Truncated and bit-flipped pickles, JSON and JPEG files: never a partial output that looks whole."""
    root, section, originals = fuzzed
    content = bytearray(originals[name])
    place %= len(content)
    content[place] ^= 1 << bit
    path, workdir = root / "tree" / name, root / "work"
    path.write_bytes(content[:place] if cut else content)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            data_dir = prepare(data_trees.config(root / "tree", section), workdir)
    except DataError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 1000
        assert nothing_half_done(workdir / "data")
    else:
        validate(data_trees.config(root / "tree", section), workdir)
        for shard in records.find_shards(data_dir):
            for serialized in records.read_records(shard):
                record = records.parse_record(serialized)
                tf.io.decode_image(record["image_bytes"], channels=3, expand_animations=False)
                for png in record["mask_png"]:
                    assert tf.io.decode_png(png).shape[:2] == (record["height"], record["width"])
    finally:
        path.write_bytes(originals[name])


def nothing_half_done(data_dir):
    """Whether there is no data, or that of an earlier, sound input, whole."""
    try:
        records.verify_shards(data_dir)
    except DataError as error:
        return "run `lts prepare` first" in str(error)
    return True
