"""Words that training never saw and the word-vector file has."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from lts_keras.config.errors import ConfigError
from lts_keras.config.read import parse_config
from lts_keras.data.prepare.records import write_manifest
from lts_keras.data.text import UNKNOWN, Tokenizer
from lts_keras.models.from_config import model_from_config
from lts_keras.models.lts import LTS
from lts_keras.models.vocabulary import model_vocabulary
from lts_keras.training.run_state import deciding_values
from lts_keras.weights import WeightsError
from lts_keras.weights.glove import read_glove
from tests.small_models import photo_bytes

NARROW = {
    **{"embedding_dim": 3, "gru_units": 2, "joint_dim": 4, "fusion_dim": 2, "aspp_dim": 2, "image_size": 64},
    **{"backbone": "darknet_tiny", "trainable_backbone": "all"},
}
TRAIN = ["dog", "red", "xyzzy"]
# The tokenizer leaves no "The", "'s", ",", "e-mail", non-breaking space or two words in one line.
NAMES = [",", "the", "The", "dog", "'s", "zebra", "e-mail", "\xa0", "at home", "zebra", "левый", "<unk>", "red", "gnu"]


@pytest.fixture
def glove(tmp_path):
    path = tmp_path / "glove.txt"
    lines = [f"{word} {number} {number / 7 - 1:.4f} -0.5" for number, word in enumerate(NAMES)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def config_of(glove=None, count=0, **sections):
    return parse_config({"model": NARROW, "weights": {"glove": glove and str(glove), "glove_words": count}, **sections})


@pytest.mark.parametrize("count", [0, 1, 3, 5, 1000])
def test_the_first_words_of_the_file_that_train_does_not_have_come_behind_it(glove, count):
    told = []
    words = model_vocabulary(config_of(glove, count), TRAIN, told.append)
    assert words == TRAIN + ["the", "zebra", "левый", "<unk>", "gnu"][:count]
    said = [f"vocabulary: 3 words of train and {min(count, 5)} more of {glove}"] if count else []
    assert told == said


def test_more_words_than_are_read_at_a_time(tmp_path):
    path = tmp_path / "many.txt"
    path.write_text("".join(f"w{number} 1 2 3\n" for number in range(9000)) + "cut 1 2\n")
    words = model_vocabulary(config_of(path, 4500), ["dog"])
    assert (len(words), words[-1]) == (4501, "w4499")
    with pytest.raises(WeightsError, match="line 9001"):
        model_vocabulary(config_of(path, 9500), ["dog"])


def test_a_word_of_val_has_its_vector_and_an_answer_of_its_own(glove, tmp_path):
    model = model_from_config(config_of(glove, 2), TRAIN, progress=lambda line: None)
    tokenizer = Tokenizer(model.vocabulary, model.max_tokens)
    zebra, unknown = tokenizer(["zebra"]).numpy()[0, 0], tokenizer(["gnu"]).numpy()[0, 0]
    matrix = model.sentence_encoder.embedding.embeddings.numpy()
    assert unknown == UNKNOWN and zebra == 2 + len(TRAIN) + 1
    np.testing.assert_array_equal(matrix[zebra], read_glove(glove, ["zebra"])[0]["zebra"])
    assert matrix.shape == (2 + len(TRAIN) + 2, 3)
    photo, texts = photo_bytes(), ["zebra", "gnu", "gazelle"]
    answers = {text: one.prior for text, one in zip(texts, model.predictor().predict_many(photo, texts), strict=True)}
    assert np.abs(answers["zebra"] - answers["gnu"]).max() > 1e-6
    np.testing.assert_array_equal(answers["gnu"], answers["gazelle"])
    # All that evaluation, export and prediction need of it is in the preset; the file is not asked again.
    model.save_to_preset(tmp_path / "preset")
    glove.unlink()
    again = LTS.from_preset(tmp_path / "preset")
    assert again.vocabulary == [*TRAIN, "the", "zebra"]
    np.testing.assert_array_equal(again.sentence_encoder.embedding.embeddings.numpy(), matrix)


def test_training_leaves_the_vectors_of_further_words_alone(glove):
    model = model_from_config(config_of(glove, 2), TRAIN, progress=lambda line: None)
    encoder, ids = model.sentence_encoder, Tokenizer(model.vocabulary, model.max_tokens)(["red dog", "dog"])
    before, optimizer = encoder.embedding.embeddings.numpy(), keras.optimizers.Adam(0.1)
    for _ in range(2):
        with tf.GradientTape() as tape:
            loss = sum(tf.reduce_sum(one**2) for one in tf.nest.flatten(encoder(ids)) if one.dtype.is_floating)
        optimizer.apply(tape.gradient(loss, encoder.trainable_variables), encoder.trainable_variables)
    after = encoder.embedding.embeddings.numpy()
    assert np.abs(after - before)[[2, 3]].min() > 0
    np.testing.assert_array_equal(after[-2:], before[-2:])


def test_with_none_nothing_changes(glove, tmp_path):
    write_manifest(tmp_path, [])
    config, plain = config_of(glove), parse_config({"model": NARROW, "weights": {"glove": str(glove)}})
    assert config == plain and model_vocabulary(config, TRAIN) is TRAIN
    # Nor does the digest by which a training that was stopped is found again.
    assert set(deciding_values(config, tmp_path)["weights"]) == {"backbone", "glove"}
    further = deciding_values(config_of(glove, 2), tmp_path)
    assert json.dumps(further) != json.dumps(deciding_values(config, tmp_path))
    assert json.dumps(further) != json.dumps(deciding_values(config_of(glove, 3), tmp_path))


def test_without_words_or_file_there_are_no_further_ones(glove):
    config = config_of(glove, 2)
    assert model_vocabulary(config, None) is None
    shown = config.weights.model_copy(update={"glove": "random"})
    assert model_vocabulary(config.model_copy(update={"weights": shown}), TRAIN) is TRAIN


@pytest.mark.parametrize("glove", [None, "random"])
def test_further_words_need_a_file(glove):
    with pytest.raises(ConfigError, match=r"weights.glove_words: 5 needs weights.glove.*Received: (null|random)"):
        config_of(glove, 5)
