import numpy as np
import pytest
import tensorflow as tf

from lts_keras.layers.sentence_encoder import SentenceEncoder
from tests.testing import assert_independent, check_layer

SMALL = {"vocabulary_size": 11, "embedding_dim": 4, "units": 3}
TOKENS = np.array([[2, 5, 9, 3], [7, 1, 0, 0], [0, 0, 0, 0]], "int32")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru_states(vectors, gru):
    """Equations 1-2 with numpy: Keras' GRU with `reset_after`, gates update, reset, new."""
    kernel, recurrent_kernel, bias = gru.get_weights()
    state, states = np.zeros(gru.units), []
    for vector in vectors:
        update_in, reset_in, new_in = np.split(vector @ kernel + bias[0], 3)
        update_state, reset_state, new_state = np.split(state @ recurrent_kernel + bias[1], 3)
        update, reset = sigmoid(update_in + update_state), sigmoid(reset_in + reset_state)
        state = update * state + (1 - update) * np.tanh(new_in + reset * new_state)
        states.append(state)
    return np.array(states)


@pytest.mark.parametrize(
    ("extra", "width"),
    [({}, 6), ({"merge": "sum"}, 3), ({"trainable_embedding": False}, 6)],
)
def test_is_a_sound_layer(extra, width):
    inputs = {"token_ids": TOKENS}
    check_layer(SentenceEncoder, SMALL | extra, inputs, ((3, width), (3, 4, width)))


def test_examples_do_not_touch_each_other():
    assert_independent(SentenceEncoder(**SMALL), {"token_ids": TOKENS})


@pytest.mark.parametrize("merge", ["concat", "sum"])
@pytest.mark.parametrize("num_tokens", [4, None])
def test_mean_over_both_directions_of_the_real_words(merge, num_tokens):
    encoder = SentenceEncoder(**SMALL, merge=merge)
    encoder.build((None, 4))
    random = np.random.default_rng(0)
    for gru in (encoder.forward_gru, encoder.backward_gru):
        gru.set_weights([random.normal(0, 0.5, weight.shape) for weight in gru.get_weights()])
    vectors = encoder.embedding.embeddings.numpy()[[7, 1]]
    forward = gru_states(vectors, encoder.forward_gru)
    backward = gru_states(vectors[::-1], encoder.backward_gru)[::-1]  # starts at the last real word
    states = np.concatenate([forward, backward], axis=1) if merge == "concat" else forward + backward
    # A known number of tokens is written out step by step, an unknown one is a loop.
    traced = tf.function(encoder, input_signature=[tf.TensorSpec((None, num_tokens), tf.int32)], autograph=False)
    sentence, words = traced(TOKENS)
    np.testing.assert_allclose(words[1, :2], states, atol=1e-6)
    np.testing.assert_allclose(sentence[1], states.mean(axis=0), atol=1e-6)


def test_padding_changes_nothing():
    encoder = SentenceEncoder(**SMALL)
    short, _ = encoder(TOKENS[1:2, :2])
    long, words = encoder(np.pad(TOKENS[1:2], ((0, 0), (0, 5))))
    np.testing.assert_allclose(long, short, atol=1e-6)
    assert not np.any(words[:, 2:])


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_empty_sentence_is_zero_and_has_finite_gradients(policy):
    encoder = SentenceEncoder(**SMALL, dtype=policy)
    with tf.GradientTape() as tape:
        sentence, words = encoder(np.zeros((2, 4), "int32"))
        total = tf.reduce_sum(sentence)
    assert not np.any(sentence) and not np.any(words)
    for gradient in tape.gradient(total, encoder.trainable_variables):
        assert np.isfinite(tf.convert_to_tensor(gradient)).all()


def test_word_order_matters():
    encoder = SentenceEncoder(**SMALL)
    there, back = encoder(np.array([[2, 3, 4]], "int32"))[0], encoder(np.array([[4, 3, 2]], "int32"))[0]
    assert np.abs(there - back).max() > 1e-4


def test_embeddings_are_loaded_with_a_zero_row_for_padding():
    encoder = SentenceEncoder(**SMALL)
    encoder.build((None, 4))
    matrix = np.ones((11, 4), "float32")
    encoder.load_embeddings(matrix)
    assert not encoder.embedding.embeddings.numpy()[0].any() and encoder.embedding.embeddings.numpy()[1:].all()
    assert matrix.all(), "the caller's matrix was written to"
    with pytest.raises(ValueError, match=r"\(11, 4\).*\(3, 4\)"):
        encoder.load_embeddings(np.ones((3, 4), "float32"))


def test_unknown_merge_is_refused():
    with pytest.raises(ValueError, match="'mean'"):
        SentenceEncoder(**SMALL, merge="mean")


def test_the_embedding_has_a_dense_gradient_with_the_rows_of_a_repeated_word_added():
    """Replicas with unequal numbers of sentences could not sum lists of rows."""
    layer = SentenceEncoder(6, embedding_dim=3, units=4)
    token_ids = np.array([[2, 3, 2], [2, 0, 0]], "int32")
    layer(token_ids)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(token_ids)[0] ** 2)
    gradient = tape.gradient(loss, layer.embedding.embeddings.value)
    assert isinstance(gradient, tf.Tensor) and gradient.shape == (6, 3)
    step, moved = 1e-3, layer.embedding.embeddings.numpy()
    moved[2] += [step, 0, 0]
    layer.embedding.embeddings.assign(moved)
    change = (float(tf.reduce_sum(layer(token_ids)[0] ** 2)) - float(loss)) / step
    assert float(gradient[2, 0]) == pytest.approx(change, rel=0.05)
    assert not np.asarray(gradient)[[0, 1, 4, 5]].any()
