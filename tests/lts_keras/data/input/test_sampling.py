import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from lts_keras.config.read import load_config
from lts_keras.data.input.sampling import MODES, choose, count_samples, photos_by_expressions
from lts_keras.data.input.training_dataset import training_dataset
from lts_keras.data.prepare.prepare import prepare
from lts_keras.data.prepare.records import read_manifest, write_manifest
from lts_keras.data.schema import DataError, ReferredObject
from tests.lts_keras.data.photos import make_photo, write_photos


def test_an_object_with_many_expressions_does_not_push_others_aside():
    record = {
        "expressions": tf.ragged.constant([["a"], [f"b{number}" for number in range(30)]]),
        "split": tf.constant(["train", "train"]),
    }

    # In a graph, where 2,000 draws take a second.
    @tf.function
    def draw(numbers):
        return tf.map_fn(
            lambda number: choose(record, ["train"], "per_image", 1, tf.stack([number, 7])).objects[0],
            numbers,
            fn_output_signature=tf.int32,
        )

    draws = draw(tf.range(2000, dtype=tf.int64))
    # 2,000 fair draws of two: three standard deviations are 0.034.
    assert abs(float(np.mean(draws)) - 0.5) < 0.04


def test_a_draw_never_repeats_an_expression():
    record = {"expressions": tf.ragged.constant([["a", "b"], ["c", "d", "e"]]), "split": tf.constant(["train"] * 2)}
    for number in range(20):
        chosen = choose(record, ["train"], "per_image", 5, tf.constant([number, 1], tf.int64))
        assert sorted(chosen.expressions.numpy()) == [b"a", b"b", b"c", b"d", b"e"]
        assert chosen.weights.numpy().tolist() == [1.0] * 5


def with_nothing(photo, split):
    """The photo with one more object, of which nobody said anything."""
    return dataclasses.replace(
        photo, objects=(*photo.objects, ReferredObject("n", "made", split, (), None, (0, 0, 9, 9)))
    )


def test_what_delivers_nothing_is_not_counted(tmp_path):
    """Photos 0 and 1 have objects of `train` and, 1 alone, of `val`; to both comes an object without expression."""
    photos = [with_nothing(make_photo(number, (40, 50)), "val") for number in (0, 1)]
    tokenizer = write_photos(tmp_path, photos, 1)
    counts = {sampling: count_samples(tmp_path, "val", sampling) for sampling in MODES}
    assert counts == {"per_ref": 1, "per_expression": 1, "per_image": 1}
    counts = {sampling: count_samples(tmp_path, "train", sampling) for sampling in MODES}
    assert counts == {"per_ref": 5, "per_expression": 8, "per_image": 2}
    assert photos_by_expressions(tmp_path, "train") == {3: 1, 5: 1}
    for sampling in MODES:
        data = training_dataset(
            tmp_path, tokenizer, split="val", sampling=sampling, image_size=32, batch_size=1, num_workers=1
        )
        assert len(list(data)) == 1


def test_counts_of_the_manifest_are_those_of_the_shards(tmp_path, tiny_config):
    config = load_config(tiny_config)
    data_dir = prepare(config, tmp_path)
    manifest = read_manifest(data_dir)
    counts = {(split, mode): count_samples(data_dir, split, mode) for split in ("train", "val") for mode in MODES}
    assert counts["train", "per_image"] == 12 and all(shard["samples"] for shard in manifest["shards"])
    # As an older version wrote it.
    shards = [{key: value for key, value in shard.items() if key != "samples"} for shard in manifest["shards"]]
    write_manifest(data_dir, shards)
    assert counts == {key: count_samples(data_dir, *key) for key in counts}


def test_a_split_that_delivers_nothing_is_refused(tmp_path):
    write_photos(tmp_path, [with_nothing(make_photo(0, (40, 50)), "testA")], 1)
    with pytest.raises(DataError, match="no object of the split testA has an expression"):
        count_samples(tmp_path, "testA", "per_image")
