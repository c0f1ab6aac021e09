import collections

import numpy as np
import pytest
import tensorflow as tf

from lts_keras.config.schema import AugmentConfig
from lts_keras.data.input import geometry
from lts_keras.data.input.evaluation_dataset import evaluation_dataset
from lts_keras.data.input.sampling import count_samples
from lts_keras.data.input.training_dataset import training_dataset
from lts_keras.data.prepare import masks
from lts_keras.data.schema import DataError
from tests.lts_keras.data.photos import SIZES, make_photo, write_photos

SIZE = 64
FLIP_ALL = AugmentConfig(flip=1.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    photos = [make_photo(number, size) for number, size in enumerate(SIZES)]
    return folder, photos, write_photos(folder, photos)


def read(data, **options):
    folder, _, tokenizer = data
    options = {"image_size": SIZE, "batch_size": 4, "num_workers": 2, **options}
    return training_dataset(folder, tokenizer, **options)


def sentence(tokenizer, ids):
    return " ".join(tokenizer.vocabulary[i - 2] for i in np.asarray(ids) if i > 1)


def sentences(dataset, tokenizer):
    return [sentence(tokenizer, row) for x, _, _ in dataset for row in x["token_ids"].numpy()]


def expected_sample(photos, tokenizer, ids):
    """Picture and targets of the sample with these words, step by step."""
    words = sentence(tokenizer, ids)
    (photo, item) = next((p, o) for p in photos for o in p.objects if words in o.expressions)
    image = geometry.letterbox_image(geometry.decode_image(photo.image_bytes), SIZE).numpy()
    if item.mask is None:
        targets = [geometry.letterbox_box_mask(item.box, photo.height, photo.width, SIZE, s).numpy() for s in (4, 8)]
    else:
        targets = [geometry.letterbox_mask(item.mask, SIZE, s).numpy() for s in (4, 8)]
    return image, *targets, float(item.mask is not None)


def all_sentences(photos, split="train"):
    return sorted(text for p in photos for o in p.objects if o.split == split for text in o.expressions)


def test_per_expression_gives_each_sample_of_the_split_once_and_right(data):
    _, photos, tokenizer = data
    found = []
    for x, y, weight in read(data, sampling="per_expression"):
        for row, ids in enumerate(x["token_ids"].numpy()):
            found.append(sentence(tokenizer, ids))
            image, mask, prior, mask_weight = expected_sample(photos, tokenizer, ids)
            np.testing.assert_allclose(x["image"][row], image, atol=0.51 / 255)
            np.testing.assert_array_equal(y["mask"][row], mask)
            np.testing.assert_array_equal(y["prior"][row], prior)
            assert weight["mask"][row] == mask_weight and weight["prior"][row] == 1.0
    assert sorted(found) == all_sentences(photos)


def test_element_spec_is_what_fit_needs(data):
    x, y, weight = read(data, sampling="per_ref", drop_remainder=True).element_spec
    assert x["image"] == tf.TensorSpec([4, SIZE, SIZE, 3], tf.float32)
    assert x["token_ids"] == tf.TensorSpec([4, 6], tf.int32)
    assert y["mask"] == tf.TensorSpec([4, 16, 16, 1], tf.float32)
    assert y["prior"] == tf.TensorSpec([4, 8, 8, 1], tf.float32)
    assert weight == {"mask": tf.TensorSpec([4], tf.float32), "prior": tf.TensorSpec([4], tf.float32)}
    x, y, weight = read(data, sampling="per_image", expressions_per_image=3).element_spec
    assert x["token_ids"].shape == (None, 3, 6) and y["prior"].shape == (None, 3, 8, 8, 1)
    assert weight["mask"].shape == (None, 3)


def test_per_ref_gives_one_expression_of_each_object_and_others_next_time(data):
    _, photos, tokenizer = data
    dataset = read(data, sampling="per_ref")
    owner = {text: item.ref_id for photo in photos for item in photo.objects for text in item.expressions}
    refs = sorted(item.ref_id for photo in photos for item in photo.objects if item.split == "train")
    seen = collections.Counter()
    for _ in range(8):
        epoch = sentences(dataset, tokenizer)
        assert sorted(owner[text] for text in epoch) == refs
        seen.update(epoch)
    assert sorted(seen) == all_sentences(photos)


def test_per_image_repeats_with_weight_zero_and_samples_beyond_k(data):
    _, photos, tokenizer = data
    by_photo = {photo.photo_id: sum(o.split == "train" for o in photo.objects) for photo in photos}
    counts = []
    for x, y, weight in read(data, sampling="per_image", expressions_per_image=4):
        for row in range(x["image"].shape[0]):
            texts = [sentence(tokenizer, ids) for ids in x["token_ids"][row].numpy()]
            real = int(weight["prior"][row].numpy().sum())
            assert weight["prior"][row].numpy().tolist() == [1.0] * real + [0.0] * (4 - real)
            assert x["expression_mask"][row].numpy().tolist() == [True] * real + [False] * (4 - real)
            assert len(set(texts[:real])) == real and set(texts[real:]) <= set(texts[:real])
            counts.append(real)
            for column, ids in enumerate(x["token_ids"][row].numpy()):
                image, mask, prior, mask_weight = expected_sample(photos, tokenizer, ids)
                np.testing.assert_allclose(x["image"][row], image, atol=0.51 / 255)
                np.testing.assert_array_equal(y["mask"][row, column], mask)
                np.testing.assert_array_equal(y["prior"][row, column], prior)
                assert weight["mask"][row, column] == (mask_weight if column < real else 0.0)
    # Three expressions where the photo has two objects, five (cut to four) where it has three.
    assert sorted(counts) == sorted(min(4, 5 if number == 3 else 3) for number in by_photo.values())


def equal(one, other):
    one, other = tf.nest.flatten(list(one)), tf.nest.flatten(list(other))
    return len(one) == len(other) and all(
        a.shape == b.shape and bool(tf.reduce_all(a == b)) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("sampling", ["per_ref", "per_expression", "per_image"])
def test_same_seed_same_batches_other_epoch_other_batches(data, sampling):
    options = {
        "sampling": sampling,
        "expressions_per_image": 2,
        "deterministic": True,
        "augment": AugmentConfig(flip=0.5, color=0.3, scale=0.2),
    }
    dataset, again = read(data, seed=5, **options), read(data, seed=5, **options)
    first, second = list(dataset), list(dataset)
    assert equal(first, again) and equal(second, again)
    assert not equal(first, second) and not equal(first, read(data, seed=6, **options))


@pytest.mark.parametrize("sampling", ["per_ref", "per_expression", "per_image"])
def test_without_shuffling_the_order_is_that_of_the_records_and_the_draws_stay(data, sampling):
    """Validation on other sentences each time would be no comparison."""
    options = {"shuffle": False, "deterministic": True, "augment": AugmentConfig(flip=0.5, color=0.3)}
    dataset = read(data, sampling=sampling, expressions_per_image=2, **options)
    assert equal(dataset, dataset)


@pytest.mark.parametrize("sampling", ["per_ref", "per_image"])
def test_ids_say_which_photo_and_object_a_sample_is_of(data, sampling):
    _, photos, tokenizer = data
    owner = {text: (p.photo_id, o.ref_id) for p in photos for o in p.objects for text in o.expressions}
    for x, _, _ in read(data, sampling=sampling, expressions_per_image=2, ids=True):
        count = len(x["photo_id"])
        rows = tf.reshape(x["token_ids"], (count, -1, 6)).numpy()
        for photo_id, ref_ids, texts in zip(
            x["photo_id"].numpy(), x["ref_id"].numpy().reshape(count, -1), rows, strict=True
        ):
            for ref_id, ids in zip(ref_ids, texts, strict=True):
                assert owner[sentence(tokenizer, ids)] == (photo_id.decode(), ref_id.decode())


@pytest.mark.parametrize("num_workers", [2, 3])
def test_workers_share_the_data_without_overlap(data, num_workers):
    _, photos, tokenizer = data
    found = []
    for number in range(num_workers):
        context = tf.distribute.InputContext(num_workers, number, num_replicas_in_sync=num_workers)
        dataset = read(data, sampling="per_expression", batch_size=6, input_context=context)
        part = list(dataset)
        assert part[0][0]["image"].shape[0] == 6 // num_workers
        found += sentences(part, tokenizer)
    assert sorted(found) == all_sentences(photos)


def test_flip_turns_picture_targets_and_words(data):
    _, photos, tokenizer = data
    flipped = 0
    for x, y, _ in read(data, sampling="per_expression", augment=FLIP_ALL):
        for row, ids in enumerate(x["token_ids"].numpy()):
            words = sentence(tokenizer, ids)
            # The names hold digits, which are no ordinals, so these expressions are never flipped.
            image, mask, _, _ = expected_sample(photos, tokenizer, ids)
            np.testing.assert_allclose(x["image"][row], image, atol=0.51 / 255)
            np.testing.assert_array_equal(y["mask"][row], mask)
            flipped += words.startswith("right")
    assert flipped


@pytest.mark.parametrize("sampling", ["per_expression", "per_image"])
def test_flip_of_sure_words(tmp_path, sampling):
    photo = make_photo(0, (60, 80))
    plain = photo.objects[0].__class__(
        "r", "made", "train", ("left dog", "bright right-most dog"), photo.objects[0].mask, None
    )
    photo = photo.__class__(photo.photo_id, photo.image_bytes, 60, 80, (plain,))
    other = photo.objects[0].__class__("s", "made", "train", ("rightmost left dog right most",), None, (0, 0, 9, 9))
    other = photo.__class__("made:other", photo.image_bytes, 60, 80, (other,))
    data = (tmp_path, [photo, other], write_photos(tmp_path, [photo, other]))
    options = {
        "sampling": sampling,
        "expressions_per_image": 2,
        "shuffle": False,
        "deterministic": True,
        "batch_size": 1,
    }
    for (x, y, _), (flipped_x, flipped_y, _) in zip(
        read(data, **options), read(data, augment=FLIP_ALL, **options), strict=True
    ):
        before = sentence(data[2], x["token_ids"].numpy().ravel())
        after = sentence(data[2], flipped_x["token_ids"].numpy().ravel())
        if "rightmost" in before:
            # "leftmost" is not in the vocabulary: the flip would lose a word.
            assert after == before and equal([x], [flipped_x])
            continue
        swapped = before.replace("bright", "BR").replace("right", "LEFT").replace("left", "right").lower()
        assert after == swapped.replace("br ", "bright ")
        np.testing.assert_array_equal(flipped_x["image"], x["image"][:, :, ::-1])
        for name in ("mask", "prior"):
            np.testing.assert_array_equal(flipped_y[name], y[name][..., ::-1, :])


def test_colour_jitter_leaves_targets_and_the_grey_alone(data):
    options = {"sampling": "per_expression", "shuffle": False, "deterministic": True}
    jittered = read(data, augment=AugmentConfig(color=0.5), **options)
    for (x, y, _), (other_x, other_y, _) in zip(read(data, **options), jittered, strict=True):
        assert equal([y, x["token_ids"]], [other_y, other_x["token_ids"]])
        grey = (x["image"] == 0.5).numpy().all(-1)
        assert (other_x["image"].numpy()[grey] == 0.5).all()
        assert not np.allclose(x["image"], other_x["image"])
        assert other_x["image"].numpy().min() >= 0 and other_x["image"].numpy().max() <= 1


def test_scale_jitter_keeps_picture_and_mask_together(tmp_path):
    """The photo is its own mask: white inside, black outside."""
    photo = make_photo(0, (60, 80))
    mask = np.zeros((60, 80), bool)
    mask[20:44, 30:62] = True
    item = photo.objects[0].__class__("r", "made", "train", ("thing",), mask, None)
    photo = photo.__class__("made:mask", masks.encode_mask(mask), 60, 80, (item,))
    data = (tmp_path, [photo], write_photos(tmp_path, [photo], 1))
    shapes = set()
    for x, y, _ in read(data, repeat=True, augment=AugmentConfig(scale=0.4)).take(20):
        white = x["image"].numpy()[0, :, :, 0]
        white = np.where(white == 0.5, 0, white).reshape(16, 4, 16, 4).mean((1, 3))
        sure = np.abs(white - 0.5) > 0.1
        np.testing.assert_array_equal(y["mask"].numpy()[0, ..., 0][sure], (white > 0.5)[sure])
        shapes.add(int((x["image"] == 0.5).numpy().sum()))
    assert len(shapes) > 5


def test_features_replace_the_picture_and_know_the_flip(tmp_path):
    photo = make_photo(0, (60, 80))
    item = photo.objects[0].__class__("r", "made", "train", ("left dog", "right dog"), photo.objects[0].mask, None)
    photo = photo.__class__("made:x", b"never decoded", 60, 80, (item,))
    data = (tmp_path, [photo], write_photos(tmp_path, [photo], 1))

    def features(photo_id, flipped):
        return {"c3": tf.where(flipped, [1.0, 0.0], [0.0, 1.0]), "name": photo_id}

    for flip in (0.0, 1.0):
        augment = AugmentConfig(flip=flip)
        dataset = read(data, sampling="per_expression", image_features=features, augment=augment)
        (x, y, _), *_ = list(dataset)
        assert sorted(x) == ["c3", "name", "token_ids"]
        assert x["name"].numpy().tolist() == [b"made:x"] * 2
        assert x["c3"].numpy().tolist() == [[flip, 1 - flip]] * 2
        target = geometry.letterbox_mask(item.mask, SIZE, 4).numpy()
        np.testing.assert_array_equal(y["mask"][0], target[:, ::-1] if flip else target)


def test_no_python_runs_in_the_pipeline(data):
    dataset = read(data, sampling="per_image", expressions_per_image=2, augment=AugmentConfig(flip=0.5, color=0.2))
    graph = tf.compat.v1.GraphDef.FromString(dataset._as_serialized_graph().numpy())
    operators = {node.op for node in graph.node} | {n.op for f in graph.library.function for n in f.node_def}
    assert "DecodeJpeg" in operators and not {"PyFunc", "EagerPyFunc", "NumpyMapDataset"} & operators


def test_evaluation_gives_every_expression_once_with_its_photo(data):
    folder, photos, tokenizer = data
    found, limit = [], 4
    dataset = evaluation_dataset(
        folder, tokenizer, splits=["val", "train", "testZ"], image_size=SIZE, batch_size=3, max_expressions=limit
    )
    by_id = {photo.photo_id: photo for photo in photos}
    for element in dataset:
        assert 1 <= len(element["expression"]) <= limit and len(element["photo_id"]) <= 3
        for row, owner in enumerate(element["image_index"].numpy()):
            photo = by_id[element["photo_id"][owner].numpy().decode()]
            item = next(o for o in photo.objects if o.ref_id == element["ref_id"][row].numpy().decode())
            expression = element["expression"][row].numpy().decode()
            found.append((item.split, expression))
            assert expression in item.expressions and sentence(tokenizer, element["token_ids"][row]) == expression
            assert element["split"][row].numpy().decode() == item.split
            assert element["original_size"][owner].numpy().tolist() == [photo.height, photo.width]
            np.testing.assert_array_equal(
                element["image"][owner], geometry.letterbox_image(geometry.decode_image(photo.image_bytes), SIZE)
            )
            assert bool(element["has_mask"][row]) == (item.mask is not None)
            if item.mask is not None:
                png = element["mask_png"][element["mask_index"][row]].numpy()
                np.testing.assert_array_equal(masks.decode_mask(png), item.mask)
            else:
                np.testing.assert_allclose(element["box"][row], item.box)
    assert sorted(found) == sorted((o.split, text) for photo in photos for o in photo.objects for text in o.expressions)


@pytest.mark.parametrize("sampling", ["per_ref", "per_expression", "per_image"])
def test_samples_are_counted_without_reading_them(data, sampling):
    dataset = read(data, sampling=sampling, expressions_per_image=2, batch_size=1)
    assert count_samples(data[0], "train", sampling) == sum(1 for _ in dataset)


def test_wrong_use_is_named(data):
    folder, _, tokenizer = data
    with pytest.raises(ValueError, match="per_ref, per_expression, per_image.*'per_photo'"):
        read(data, sampling="per_photo")
    with pytest.raises(ValueError, match="service shares"):
        read(data, service="grpc://localhost:1", image_features=lambda photo_id, flipped: {})
    with pytest.raises(DataError, match="train, val.*testB"):
        read(data, split="testB")
    with pytest.raises(DataError, match="train, val.*testB"):
        evaluation_dataset(folder, tokenizer, splits=["testB"])


@pytest.mark.parametrize("global_seed", [0, 7])
def test_the_draws_are_those_of_the_data_sets_own_seed(data, global_seed):
    tf.random.set_seed(global_seed)
    batches = [x["token_ids"].numpy() for x, _, _ in read(data, repeat=True, deterministic=True, seed=3).take(3)]
    tf.random.set_seed(11)
    again = [x["token_ids"].numpy() for x, _, _ in read(data, repeat=True, deterministic=True, seed=3).take(3)]
    for one, other in zip(batches, again, strict=True):
        np.testing.assert_array_equal(one, other)
