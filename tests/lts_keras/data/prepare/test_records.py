import dataclasses
import json

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from lts_keras.data.prepare import records
from lts_keras.data.prepare.masks import decode_mask
from lts_keras.data.schema import DataError, Photo, ReferredObject
from tests.lts_keras.data.data_trees import jpeg

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@st.composite
def photos(draw):
    height, width = draw(st.integers(1, 30)), draw(st.integers(1, 30))
    objects = []
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["mask", "box", "none"]))
        mask = np.zeros((height, width), bool)
        if kind == "mask":
            mask = np.random.default_rng(draw(st.integers(0, 99))).random((height, width)) < 0.5
        objects.append(
            ReferredObject(
                ref_id=draw(words),
                dataset=draw(words),
                split=draw(st.sampled_from(["train", "val"])),
                expressions=tuple(draw(st.lists(words, max_size=4))),
                mask=None if kind == "box" else mask,
                box=None if kind == "none" else (0.0, 0.25, width / 2, float(height)),
                category=draw(words),
                several=draw(st.booleans()),
            )
        )
    orientation = draw(st.integers(1, 8))
    others = tuple((draw(words), (0.0, 0.25, width / 2, float(height))) for _ in range(draw(st.integers(0, 3))))
    content = draw(st.binary(max_size=50))
    return Photo(draw(words), content, height, width, tuple(objects), orientation, others=others)


@hypothesis.given(photos())
def test_a_record_gives_the_photo_back(photo):
    serialized = records.make_record(photo)
    parsed = records.parse_record(tf.constant(serialized))
    assert parsed["photo_id"].numpy().decode() == photo.photo_id
    assert parsed["image_bytes"].numpy() == photo.image_bytes
    assert (int(parsed["height"]), int(parsed["width"])) == (photo.height, photo.width)
    assert int(parsed["orientation"]) == photo.orientation
    for name in ("ref_id", "dataset", "split", "category"):
        assert [value.decode() for value in parsed[name].numpy()] == [getattr(item, name) for item in photo.objects]
    texts = [[text.decode() for text in row] for row in parsed["expressions"].to_list()]
    assert texts == [list(item.expressions) for item in photo.objects]
    for index, item in enumerate(photo.objects):
        assert bool(parsed["has_mask"][index]) == (item.mask is not None)
        assert bool(parsed["several"][index]) == item.several
        np.testing.assert_allclose(parsed["box"][index], item.box or (0, 0, 0, 0), rtol=1e-6)
        png = parsed["mask_png"][index].numpy()
        if item.mask is None:
            assert png == b""
        else:
            np.testing.assert_array_equal(decode_mask(png), item.mask)
    assert [value.decode() for value in parsed["other_category"].numpy()] == [name for name, _ in photo.others]
    boxes = np.array([box for _, box in photo.others]).reshape(-1, 4)
    np.testing.assert_allclose(parsed["other_box"], boxes, rtol=1e-6)


def photo(photo_id="a"):
    mask = np.zeros((40, 60), bool)
    mask[3:9, 4:20] = True
    item = ReferredObject("1", "own", "train", ("the dog", "left dog"), mask, (4.0, 3.0, 20.0, 9.0), "dog")
    return Photo(photo_id, jpeg(1), 40, 60, (item,))


def test_equal_photos_give_equal_bytes():
    assert records.make_record(photo()) == records.make_record(photo())


def test_boxes_are_clipped_to_the_photo():
    item = dataclasses.replace(photo().objects[0], box=(-3.0, 2.0, 99.0, 41.0))
    record = records.make_record(dataclasses.replace(photo(), objects=(item,)))
    np.testing.assert_array_equal(records.parse_record(record)["box"], [[0, 2, 60, 40]])
    record = records.make_record(dataclasses.replace(photo(), others=(("cat", (-3.0, 2.0, 99.0, 41.0)),)))
    np.testing.assert_array_equal(records.parse_record(record)["other_box"], [[0, 2, 60, 40]])


def test_records_parse_inside_tf_data(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "x")) as writer:
        for name in "ab":
            writer.write(records.make_record(photo(name)))
    dataset = tf.data.TFRecordDataset(str(tmp_path / "x")).map(records.parse_record)
    assert [item["photo_id"].numpy() for item in dataset] == [b"a", b"b"]
    assert dataset.element_spec["box"].shape == (None, 4)


@pytest.fixture
def shards(tmp_path):
    entries = []
    for splits in (["train"], ["test", "val"]):
        path = tmp_path / f"{'-'.join(splits)}.tfrecord"
        with tf.io.TFRecordWriter(str(path)) as writer:
            writer.write(records.make_record(photo()))
        content = {"file": path.name, "sha256": records.digest(path), "bytes": path.stat().st_size}
        entries.append({**content, "splits": splits, "photos": 1, "refs": 1, "expressions": 2})
    records.write_manifest(tmp_path, entries)
    return tmp_path


def test_shards_are_found_by_split(shards):
    names = [path.rpartition("/")[2] for path in records.find_shards(shards, ["val"])]
    assert names == ["test-val.tfrecord"]
    assert len(records.find_shards(shards)) == 2
    records.verify_shards(shards)


def test_an_unknown_split_names_the_known_ones(shards):
    with pytest.raises(DataError, match="test, train, val. Received: testA"):
        records.find_shards(shards, ["testA"])


def test_no_manifest_is_one_clear_line(tmp_path):
    with pytest.raises(DataError, match="run `lts prepare` first"):
        records.find_shards(tmp_path)


def test_a_manifest_of_another_format_is_refused(shards):
    content = json.loads((shards / "manifest.json").read_text())
    (shards / "manifest.json").write_text(json.dumps(content | {"format": 99}))
    with pytest.raises(DataError, match="format 3 is needed; run `lts prepare` again. Received: 99"):
        records.read_manifest(shards)


@pytest.mark.parametrize("change", ["flip", "cut", "remove"])
def test_a_damaged_shard_is_named(shards, change):
    path = shards / "train.tfrecord"
    content = bytearray(path.read_bytes())
    if change == "flip":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif change == "cut":
        path.write_bytes(content[:-7])
    else:
        path.unlink()
    with pytest.raises(DataError, match="train.tfrecord"):
        records.verify_shards(shards)
    with pytest.raises(DataError, match=r"train.tfrecord.*run `lts prepare` again"):
        list(records.read_records(path))
    if change != "flip":
        with pytest.raises(DataError, match="train.tfrecord"):
            records.find_shards(shards, ["val"])


@hypothesis.given(st.integers(0, 10**6), st.integers(0, 7), st.booleans())
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_a_damaged_manifest_is_whole_or_refused(shards, place, bit, cut):
    path = shards / "manifest.json"
    original = path.read_bytes()
    content = bytearray(original)
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content[: place % len(content)] if cut else content)
    try:
        records.verify_shards(shards)
        manifest = records.read_manifest(shards)
        assert manifest["format"] == records.FORMAT
    except DataError as error:
        assert "\n" not in str(error)
    finally:
        path.write_bytes(original)
