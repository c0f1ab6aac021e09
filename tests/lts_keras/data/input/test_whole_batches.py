"""Whole batches on any number of devices: filled up, ended with the last epoch, and gone on with."""

import collections
import json
import re

import numpy as np
import pytest
import tensorflow as tf

from lts_keras.data.input.evaluation_dataset import evaluation_dataset
from lts_keras.data.input.training_dataset import training_dataset
from lts_keras.data.input.validation_dataset import validation_dataset
from lts_keras.data.schema import DataError
from tests.conftest import run_python
from tests.lts_keras.data.photos import SIZES, make_photo, write_photos

NUM_REFS = 17
"""Objects of the split `train` in the photos below."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    photos = [make_photo(number, size) for number, size in enumerate(SIZES)]
    return folder, photos, write_photos(folder, photos)


def read(data, **options):
    options = {"image_size": 32, "batch_size": 4, "num_workers": 2, "deterministic": True, "ids": True, **options}
    return training_dataset(data[0], data[2], **options)


def refs(batches):
    return [name.decode() for x, _, _ in batches for name in x["ref_id"].numpy().ravel()]


def equal(one, other):
    one, other = tf.nest.flatten(list(one)), tf.nest.flatten(list(other))
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_last_batch_of_an_epoch_is_filled_with_samples_of_its_own(data):
    epochs = list(read(data, repeat=True, epochs=3))
    assert [len(x["ref_id"]) for x, _, _ in epochs] == [4] * 15
    for first in (0, 5, 10):
        names = refs(epochs[first : first + 5])
        assert len(set(names[:NUM_REFS])) == NUM_REFS and set(names[NUM_REFS:]) <= set(names[:NUM_REFS])
    for _, _, weight in epochs:
        assert (weight["prior"].numpy() == 1.0).all()
    # Each sample once where nobody asked for whole batches.
    assert collections.Counter(refs(read(data))) == collections.Counter(names[:NUM_REFS])


@pytest.mark.parametrize("sampling, batch_size", [("per_ref", 4), ("per_ref", 40), ("per_image", 18)])
def test_going_on_gives_the_batches_of_a_run_from_the_start(data, sampling, batch_size):
    """Also where the split has fewer samples than a batch, or than half of one."""
    options = {"sampling": sampling, "expressions_per_image": 2, "batch_size": batch_size, "repeat": True}
    whole = list(read(data, epochs=3, **options))
    steps = len(whole) // 3
    assert {len(x["photo_id"]) for x, _, _ in whole} == {batch_size}
    assert equal(whole[steps:], read(data, first_epoch=1, epochs=3, **options))
    assert equal(whole[2 * steps :], read(data, first_epoch=2, **options).take(steps))
    assert not equal(whole[:steps], whole[steps : 2 * steps])


def test_a_cut_or_a_dropped_last_batch_where_it_is_asked_for(data):
    cut = list(read(data, repeat=True, epochs=2, fill_remainder=False))
    assert [len(x["ref_id"]) for x, _, _ in cut] == [4, 4, 4, 4, 1] * 2
    dropped = list(read(data, repeat=True, epochs=2, drop_remainder=True))
    assert [len(x["ref_id"]) for x, _, _ in dropped] == [4] * 8
    filled = list(read(data, fill_remainder=True))
    assert [len(x["ref_id"]) for x, _, _ in filled] == [4] * 5
    with pytest.raises(DataError, match="train has 17 samples, fewer than a batch of 18"):
        read(data, batch_size=18, drop_remainder=True)
    with pytest.raises(ValueError, match="only one"):
        read(data, drop_remainder=True, fill_remainder=True)
    with pytest.raises(ValueError, match="repeat=True"):
        read(data, epochs=2)


def test_workers_get_equally_many_batches(data):
    counts = set()
    for number in range(2):
        context = tf.distribute.InputContext(2, number, num_replicas_in_sync=2)
        batches = list(read(data, batch_size=6, repeat=True, epochs=2, input_context=context))
        counts.add((len(batches), *{len(x["ref_id"]) for x, _, _ in batches}))
    assert counts == {(6, 3)}


PROGRAM = """
import json, sys
import tensorflow as tf
from pathlib import Path
from lts_keras.data.input.training_dataset import training_dataset
from lts_keras.data.input.validation_dataset import validation_dataset
from lts_keras.data.text import Tokenizer
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 8)
folder, words = Path(sys.argv[1]), json.loads(sys.argv[2])
options = {"image_size": 16, "num_workers": 2}
for count in (2, 3, 4, 8):
    strategy = tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(count)])
    def shares(data, key):
        for x, _, _ in strategy.experimental_distribute_dataset(data):
            yield [part.numpy().tolist() for part in strategy.experimental_local_results(x[key])]
    with strategy.scope():
        tokenizer = Tokenizer(words, 6)
        # The default fills, with several replicas in scope as well as in a data set that repeats.
        more = {"sampling": "per_image", "repeat": True, "epochs": 2} if count in (3, 8) else {}
        train = training_dataset(folder, tokenizer, batch_size=24, **options, **more)
        validation = validation_dataset(folder, tokenizer, split="train", batch_size=5, max_expressions=4, **options)
    result = {"train": list(shares(train, "token_ids")), "validation": list(shares(validation, "expression_mask"))}
    print("RESULT", json.dumps({"count": count, **result}))
"""


@pytest.mark.slow
def test_every_replica_gets_as_much_in_every_step(data):
    """24 samples a batch, of 17 refs or 7 photos; hidden batches came as 3, 3, 3, 3, 3, 3, 3, 3 at best and cut."""
    done = run_python("-c", PROGRAM, data[0], json.dumps(data[2].vocabulary), timeout=300)
    results = [json.loads(line) for line in re.findall("^RESULT (.*)$", done.stdout, re.MULTILINE)]
    assert [result["count"] for result in results] == [2, 3, 4, 8], done.stderr[-2000:]
    for result in results:
        count = result["count"]
        steps = [[len(part) for part in step] for step in result["train"]]
        assert steps == [[24 // count] * count] * (2 if count in (3, 8) else 1)
        for step in result["validation"]:
            assert len(step) == count and len({len(part) for part in step}) == 1
            assert all(any(row[0] for row in part) for part in step)


def test_no_iterator_has_a_thread_that_sleeps_through_its_end(data):
    """Autotuning's: `fit` waited for it for up to 41 s, by chance, so that timing would show it now and then alone."""
    datasets = [
        read(data, repeat=True),
        validation_dataset(data[0], data[2], split="train", image_size=32),
        evaluation_dataset(data[0], data[2], splits=["train"], image_size=32),
    ]
    assert [dataset.options().autotune.enabled for dataset in datasets] == [False] * 3
