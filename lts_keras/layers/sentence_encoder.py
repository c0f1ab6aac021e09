"""Sentence encoder: word embedding, bi-directional GRU, mean over the words (figure 2, "bi-GRU")."""

import keras
from keras import ops

from lts_keras.layers.tensorflow_paths import is_symbolic, look_up

__all__ = ["SentenceEncoder"]


@keras.saving.register_keras_serializable(package="lts_keras")
class SentenceEncoder(keras.layers.Layer):
    """Turns token ids into one vector per sentence (equations 1-4).

    The backward GRU starts at the last real token (h_{m+1} = 0), not at the end of the padding, and the mean of
    equation 3 goes over the real tokens alone: an empty sentence gives zeros, never NaN.

    Args:
        vocabulary_size: int. Rows of the embedding, with 0 (padding) and 1 (unknown).
        embedding_dim: int. Defaults to `300`.
        units: int. GRU units per direction. Defaults to `512`.
        merge: `"concat"` (equation 4; `2 * units` wide) or `"sum"` (`units` wide). Defaults to `"concat"`.
        trainable_embedding: bool. Defaults to `True`.

    Call arguments:
        token_ids: Integer tensor of shape `(batch, tokens)`, right-padded with 0.

    Returns:
        Tuple `(sentence, words)`: float tensors of shapes `(batch, width)` and `(batch, tokens, width)`; words are
        zero where the token is padding.

    Reference:
     - Jing et al., "Locate then Segment", CVPR 2021, section 3.1.
    """

    def __init__(
        self,
        vocabulary_size,
        embedding_dim=300,
        units=512,
        merge="concat",
        trainable_embedding=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if merge not in ("concat", "sum"):
            raise ValueError(f"merge must be 'concat' or 'sum'. Received: {merge!r}")
        self.vocabulary_size = vocabulary_size
        self.embedding_dim = embedding_dim
        self.units = units
        self.merge = merge
        self.trainable_embedding = trainable_embedding
        self.width = units * 2 if merge == "concat" else units
        self.embedding = keras.layers.Embedding(
            vocabulary_size,
            embedding_dim,
            embeddings_initializer=keras.initializers.RandomNormal(stddev=0.3),
            trainable=trainable_embedding,
            dtype=self.dtype_policy,
            name="embedding",
        )
        options = {"return_sequences": True, "dtype": self.dtype_policy}
        self.forward_gru = keras.layers.GRU(units, name="forward_gru", **options)
        self.backward_gru = keras.layers.GRU(units, go_backwards=True, name="backward_gru", **options)

    def build(self, token_ids_shape):
        """Makes the variables; the number of tokens does not matter."""
        self.embedding.build(token_ids_shape)
        self.load_embeddings(None)
        for gru in (self.forward_gru, self.backward_gru):
            gru.build((*token_ids_shape, self.embedding_dim))
        self.built = True

    def load_embeddings(self, matrix):
        """Sets the embedding, for example to GloVe vectors.

        Args:
            matrix: float array `(vocabulary_size, embedding_dim)`, or `None` to keep the values; the row of the
                padding becomes zero in both cases.

        Raises:
            ValueError: if the shape differs.
        """
        matrix = ops.convert_to_numpy(self.embedding.embeddings).copy() if matrix is None else matrix.copy()
        if matrix.shape != (self.vocabulary_size, self.embedding_dim):
            raise ValueError(
                f"embeddings must have shape {(self.vocabulary_size, self.embedding_dim)}. Received: {matrix.shape}"
            )
        matrix[0] = 0
        self.embedding.embeddings.assign(matrix)

    def call(self, token_ids, training=None):
        real = ops.not_equal(token_ids, 0)
        embedded = self._embed(token_ids)
        if token_ids.shape[1] is None:
            forward = self.forward_gru(embedded, mask=real, training=training)
            backward = ops.flip(self.backward_gru(embedded, mask=real, training=training), axis=1)
        else:
            forward, backward = self._recur(embedded, real)
        words = ops.concatenate([forward, backward], axis=-1) if self.merge == "concat" else forward + backward
        weights = ops.cast(ops.expand_dims(real, -1), words.dtype)
        words = words * weights
        count = ops.maximum(ops.sum(weights, axis=1), 1)
        return ops.sum(words, axis=1) / count, words

    def _embed(self, token_ids):
        """Word embeddings `(batch, tokens, embedding_dim)` of token ids."""
        if is_symbolic(token_ids):
            return self.embedding(token_ids)
        return ops.cast(look_up(self.embedding.embeddings.value, ops.cast(token_ids, "int32")), self.compute_dtype)

    def _recur(self, embedded, real):
        """Both directions of the GRU in one written-out recurrence, for a static number of tokens.

        The same numbers as the two layers give, without their loops: the inputs of all steps are projected at once,
        and each step multiplies the states of both directions together. A loop costs more than the arithmetic in it.

        Args:
            embedded: Float tensor `(batch, tokens, embedding_dim)`.
            real: bool tensor `(batch, tokens)`.

        Returns:
            Tuple of float tensors `(batch, tokens, units)`, forward and backward, both in the order of the tokens.
        """
        inputs, cells = [], []
        for gru, is_backward in ((self.forward_gru, False), (self.backward_gru, True)):
            kernel, recurrent, bias = (
                ops.cast(value, self.compute_dtype)
                for value in (gru.cell.kernel, gru.cell.recurrent_kernel, gru.cell.bias)
            )
            projected = ops.matmul(embedded, kernel) + bias[0]
            inputs.append(ops.flip(projected, axis=1) if is_backward else projected)
            cells.append((recurrent, bias[1]))
        inputs = ops.stack(inputs)
        keep = ops.cast(ops.stack([real, ops.flip(real, axis=1)]), self.compute_dtype)[..., None]
        recurrent = ops.stack([kernel for kernel, _ in cells])
        recurrent_bias = ops.stack([bias for _, bias in cells])[:, None, :]
        state = ops.zeros_like(inputs[:, :, 0, : self.units])
        states = []
        # Unstacked once: the gradient of each slice would be as large as what it is cut from.
        for now, kept in zip(ops.unstack(inputs, axis=2), ops.unstack(keep, axis=2), strict=True):
            input_update, input_reset, input_new = ops.split(now, 3, axis=-1)
            update, reset, new = ops.split(ops.matmul(state, recurrent) + recurrent_bias, 3, axis=-1)
            update = ops.sigmoid(input_update + update)
            new = ops.tanh(input_new + ops.sigmoid(input_reset + reset) * new)
            # Padding keeps the state: the backward direction starts at the last real token.
            state = state + kept * (1 - update) * (new - state)
            states.append(state)
        forward = ops.stack([state[0] for state in states], axis=1)
        backward = ops.stack([state[1] for state in reversed(states)], axis=1)
        return forward, backward

    def compute_output_shape(self, token_ids_shape):
        return (token_ids_shape[0], self.width), (*token_ids_shape, self.width)

    def get_config(self):
        return super().get_config() | {
            "vocabulary_size": self.vocabulary_size,
            "embedding_dim": self.embedding_dim,
            "units": self.units,
            "merge": self.merge,
            "trainable_embedding": self.trainable_embedding,
        }
