"""What a request may bring to the batch that it shares with strangers."""

import threading

import numpy as np
import pytest
import tensorflow as tf

from lts_keras.config.schema import ExportConfig
from lts_keras.data.text import Tokenizer
from lts_keras.export import export_saved_model
from tests.small_models import photo_bytes, small_model

TOKENS = np.array([[2, 3, 4, 0, 0, 0]], np.int32)
IMAGE = np.random.default_rng(0).random((1, 64, 64, 3), dtype=np.float32)


def ask(exported, name, inputs):
    found = exported.signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
    return {key: value.numpy() for key, value in found.items()}


def changed(array, value):
    array = array.copy()
    array.flat[7 % array.size] = value
    return array


@pytest.fixture(scope="module")
def encoded(exported):
    return ask(exported, "encode_photo", {"image_bytes": [photo_bytes()]}) | {"expression": ["the left dog"]}


WRONG_TENSORS = {
    "token_ids must be 0 to 9": {"token_ids": changed(TOKENS, 10)},
    "token_ids must be 0 to 9. Received:.*-1": {"token_ids": changed(TOKENS, -1)},
    "image must hold finite numbers": {"image": changed(IMAGE, np.nan)},
    "image must hold finite numbers alone": {"image": changed(IMAGE, np.inf)},
    r"image must have the shape \(rows, 64, 64, 3\)": {"image": IMAGE[:, :32, :32]},
    r"image must have the shape \(rows, 64, 64, 3\). Received": {"image": IMAGE.reshape(1, 128, 32, 3)},
    r"token_ids must have the shape \(rows, 6\)": {"token_ids": TOKENS[:, :5]},
    r"token_ids must have the shape \(rows, 6\). Received": {"token_ids": TOKENS[0]},
    "equally many rows": {"image": np.repeat(IMAGE, 2, axis=0)},
}


@pytest.mark.parametrize("words", WRONG_TENSORS)
def test_tensors_that_the_batch_could_not_take_are_refused(exported, words):
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        ask(exported, "segment_tensors", {"image": IMAGE, "token_ids": TOKENS} | WRONG_TENSORS[words])


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("feature_0", np.nan, "feature_0 must hold finite numbers"),
        ("size", 0, "size must be height and width of a photo of 1 to 100000 pixels"),
        ("size", 100_000, "size must be height and width of a photo of 1 to 100000 pixels"),
    ],
)
def test_features_that_no_photo_has_are_refused(exported, encoded, name, value, words):
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        ask(exported, "segment_encoded", encoded | {name: changed(encoded[name], value)})


def test_features_of_two_photos_or_of_another_size_are_refused(exported, encoded):
    for name, value, words in (
        ("feature_1", np.repeat(encoded["feature_1"], 2, axis=0), "feature_1 must hold one photo"),
        ("feature_2", encoded["feature_2"][..., :-1], "feature_2 must have the shape"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=words):
            ask(exported, "segment_encoded", encoded | {name: value})


def test_no_more_photos_are_encoded_at_once_than_a_batch_has(exported):
    with pytest.raises(tf.errors.InvalidArgumentError, match="image_bytes must hold 1 to 8 rows"):
        ask(exported, "encode_photo", {"image_bytes": [photo_bytes()] * 9})


def test_both_halves_answer_as_the_whole(exported, encoded):
    expressions = ["the left dog", "red", "zzz"]
    whole = ask(exported, "segment_expressions", {"image_bytes": [photo_bytes()], "expression": expressions})
    halves = ask(exported, "segment_encoded", encoded | {"expression": expressions})
    assert halves["mask_png_bytes"].tolist() == whole["mask_png_bytes"].tolist()
    for name in ("score", "presence", "box", "point", "size"):
        np.testing.assert_allclose(halves[name], whole[name], atol=1e-6)


@pytest.mark.parametrize("bad", [{"token_ids": changed(TOKENS, 4711)}, {"image": IMAGE[:, :32, :32]}])
def test_one_clients_bad_row_fails_nobody_else(exported, bad):
    """A batch that is waited for lets the rows of all threads meet."""
    good = {"image": IMAGE, "token_ids": TOKENS}
    expected, results = ask(exported, "segment_tensors", good), {}
    start = threading.Barrier(12)

    def run(number):
        start.wait(timeout=60)
        try:
            for _ in range(5):
                results[number] = ask(exported, "segment_tensors", good | (bad if number % 3 == 0 else {}))
        except tf.errors.InvalidArgumentError as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 12
    for number, result in results.items():
        if number % 3 == 0:
            assert isinstance(result, tf.errors.InvalidArgumentError)
        else:
            np.testing.assert_allclose(result["mask"], expected["mask"], atol=1e-5)


@pytest.mark.parametrize("batch_sizes", [(1,), (1, 2)])
def test_the_most_rows_pass_however_small_the_batches(tmp_path, batch_sizes):
    model = small_model()
    config = ExportConfig(batch_sizes=batch_sizes, batch_timeout_micros=0)
    export_saved_model(model, Tokenizer(model.vocabulary, 6), tmp_path / "saved", config)
    signatures = tf.saved_model.load(str(tmp_path / "saved")).signatures
    inputs = {"image_bytes": tf.constant([photo_bytes(8, 8)]), "expression": tf.constant(["red"] * 1024)}
    assert signatures["segment_expressions"](**inputs)["score"].shape == (1024,)
    rows = {"image": tf.repeat(tf.constant(IMAGE), 1024, axis=0), "token_ids": tf.repeat(tf.constant(TOKENS), 1024, 0)}
    assert signatures["segment_tensors"](**rows)["mask"].shape == (1024, 16, 16, 1)
