import collections

import numpy as np
import pytest
import tensorflow as tf

from lts_keras.data.input.training_dataset import training_dataset
from lts_keras.data.input.validation_dataset import validation_dataset
from lts_keras.data.schema import DataError
from lts_keras.metrics import lts_metrics
from tests.lts_keras.data.photos import SIZES, make_photo, write_photos

SIZE = 32


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    photos = [make_photo(number, size) for number, size in enumerate(SIZES)]
    return folder, photos, write_photos(folder, photos)


def read(data, **options):
    options = {"split": "train", "image_size": SIZE, "num_workers": 2, "ids": True, **options}
    return validation_dataset(data[0], data[2], **options)


def logits(x, y):
    """Something that depends on the row alone: the targets, shifted by what the words are."""
    shift = tf.cast(tf.reduce_sum(x["token_ids"], -1) % 5, tf.float32)
    return {
        name: tf.roll(value, 1, -3) * 4.0
        + shift[..., None, None, None]
        - 3.5
        + tf.range(value.shape[-2], dtype="float32")[:, None]
        for name, value in y.items()
    }


def scores(batches):
    metrics = lts_metrics(0.25)
    for x, y, weights in batches:
        predicted = logits(x, y)
        for name, several in metrics.items():
            for metric in several:
                metric.update_state(y[name], predicted[name], weights[name])
    return {f"{name}_{metric.name}": float(metric.result()) for name, several in metrics.items() for metric in several}


@pytest.mark.parametrize("max_expressions, num_replicas", [(64, 1), (3, 2), (2, 4)])
def test_scores_are_those_of_the_expressions_one_by_one(data, max_expressions, num_replicas):
    one_by_one = training_dataset(
        data[0], data[2], image_size=SIZE, batch_size=1, sampling="per_expression", num_workers=2
    )
    together = read(data, batch_size=4, max_expressions=max_expressions, num_replicas=num_replicas)
    expected, found = scores(one_by_one), scores(together)
    assert found == pytest.approx(expected, abs=1e-6)
    assert 0 < found["mask_mean_iou"] < 1 and 0 < found["prior_localization_accuracy"] < 1


@pytest.mark.parametrize("num_replicas", [1, 2, 3])
def test_each_sentence_once_in_batches_that_divide(data, num_replicas):
    _, photos, tokenizer = data
    owner = {text: (p.photo_id, o.ref_id) for p in photos for o in p.objects for text in o.expressions}
    found = collections.Counter()
    dataset = read(data, batch_size=4, max_expressions=4, num_replicas=num_replicas)
    batches = list(dataset)
    assert len(batches) == int(dataset.cardinality())
    for x, y, weights in batches:
        size, count = x["expression_mask"].shape
        assert size % num_replicas == 0 and count in (1, 2, 4) and size * count <= 4 * num_replicas
        assert y["mask"].shape == (size, count, SIZE // 4, SIZE // 4, 1) and x["image"].shape == (size, SIZE, SIZE, 3)
        real = weights["prior"].numpy() > 0
        mask = x["expression_mask"].numpy()
        assert mask[:, 0].all() and (mask[real.any(1)] == real[real.any(1)]).all()
        assert not mask[~real.any(1)][:, 1:].any()
        for row, column in zip(*np.nonzero(real), strict=True):
            words = " ".join(tokenizer.vocabulary[i - 2] for i in x["token_ids"][row, column].numpy() if i)
            found[words] += 1
            ids = x["photo_id"][row].numpy().decode(), x["ref_id"][row, column].numpy().decode()
            assert owner[words] == ids
    assert found == collections.Counter(
        text for p in photos for o in p.objects if o.split == "train" for text in o.expressions
    )


def test_the_same_batches_each_time_and_with_cached_maps(data):
    def features(photo_id, flipped):
        return {"c3": tf.cast(tf.strings.length(photo_id), tf.float32)[None]}

    dataset = read(data, batch_size=3, image_features=features)
    first, second = (tf.nest.flatten(list(dataset)) for _ in range(2))
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
    x, y, weights = dataset.element_spec
    assert "image" not in x and x["c3"].shape == (None, 1)
    assert x["token_ids"] == tf.TensorSpec([None, None, 6], tf.int32)
    assert y["prior"] == tf.TensorSpec([None, None, SIZE // 8, SIZE // 8, 1], tf.float32)
    assert weights["mask"] == tf.TensorSpec([None, None], tf.float32)


def test_a_split_without_expressions_is_refused(tmp_path):
    photo = make_photo(0, (40, 50))
    empty = photo.objects[0].__class__("e", "made", "val", (), None, (0, 0, 9, 9))
    photo = photo.__class__(photo.photo_id, photo.image_bytes, 40, 50, (*photo.objects, empty))
    tokenizer = write_photos(tmp_path, [photo], 1)
    with pytest.raises(DataError, match="no object of the split val has an expression"):
        validation_dataset(tmp_path, tokenizer, split="val", image_size=SIZE)
