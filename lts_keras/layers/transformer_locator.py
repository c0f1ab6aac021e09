"""Transformer localization: a decoder layer over all positions, with the sentence as its memory (LTS-Trans)."""

import warnings

import keras
import numpy as np
from keras import ops

from lts_keras.layers.locator import Locator
from lts_keras.layers.relevance_filter import RelevanceFilter

__all__ = ["TransformerLocator", "sine_positions"]


def sine_positions(height, width, channels):
    """Fixed 2-D sine positions.

    The first half of the channels encodes the row y = 0, 1, ..., the second half the column x. With
    n = channels / 4, each half holds sin(p / 10000^(i/n)) for i = 0..n-1, then the cosines in the same order.

    Args:
        height: int or scalar tensor.
        width: int or scalar tensor.
        channels: int, a multiple of 4.

    Returns:
        Float32 tensor of shape `(height * width, channels)`, row by row.
    """
    count = channels // 4
    periods = np.power(10000.0, np.arange(count) / count).astype("float32")

    def encode(length):
        angles = ops.arange(length, dtype="float32")[:, None] / periods
        return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=1)

    grid = (height, width, channels // 2)
    rows = ops.broadcast_to(encode(height)[:, None, :], grid)
    columns = ops.broadcast_to(encode(width)[None, :, :], grid)
    return ops.reshape(ops.concatenate([rows, columns], axis=-1), (-1, channels))


@keras.saving.register_keras_serializable(package="lts_keras")
class TransformerLocator(Locator):
    """One post-norm decoder layer over all positions, with the sentence as its memory of one token (equation 9).

    Fixed positions are added to the queries and keys of each attention, not to the values. Since the memory has one
    token, cross-attention adds the same vector at every position: a property of the paper. Attention mixes all
    positions, so the halves of `fused` are joined (`Locator.locate`).

    Args:
        num_heads: int. Defaults to `4`.
        feed_forward_dim: int. Defaults to `1024`.
        dropout: float. On attention weights and each branch. Defaults to `0.1`.
        num_filters: int. The decoder's map counts as the first; each further one is a relevance filter behind it, as
            in `RelevanceFilter` (table 7, "transformer, more filtering times"). Defaults to `1`.

    Call arguments:
        fused: Float tensor of shape `(batch, height, width, channels)`; channels a multiple of 4 and of `num_heads`.
        sentence: Float tensor of shape `(batch, sentence_dim)`.

    Returns:
        Float32 logits of shape `(batch, height, width, 1)`.

    Reference:
     - Jing et al., "Locate then Segment", CVPR 2021, section 3.2.
    """

    def __init__(self, num_heads=4, feed_forward_dim=1024, dropout=0.1, num_filters=1, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.feed_forward_dim = feed_forward_dim
        self.dropout = dropout
        self.num_filters = num_filters

    def build(self, fused_shape, sentence_shape, *_, **__):
        """Makes the variables; only channels matter."""
        channels, policy = fused_shape[-1], self.dtype_policy
        if channels % 4 or channels % self.num_heads:
            raise ValueError(f"channels must be a multiple of 4 and of num_heads. Received: {channels}")
        sequence, memory = (None, None, channels), (None, 1, sentence_shape[-1])
        for kind, source in (("self", sequence), ("cross", memory)):
            # Flash attention is taken by Keras itself where the backend has it.
            attention = keras.layers.MultiHeadAttention(
                self.num_heads,
                channels // self.num_heads,
                dropout=self.dropout,
                dtype=policy,
                name=f"{kind}_attention",
            )
            attention.build(sequence, source, source)
            setattr(self, f"{kind}_attention", attention)
        for name in ("self_norm", "cross_norm", "feed_forward_norm"):
            norm = keras.layers.LayerNormalization(epsilon=1e-5, dtype=policy, name=name)
            norm.build(sequence)
            setattr(self, name, norm)
        for name, inner, outer in (
            ("feed_forward_in", channels, self.feed_forward_dim),
            ("feed_forward_out", self.feed_forward_dim, channels),
            ("score", channels, 1),
        ):
            dense = keras.layers.Dense(outer, dtype=policy, name=name)
            dense.build((None, None, inner))
            setattr(self, name, dense)
        if self.num_filters > 1:
            self.filters = RelevanceFilter(self.num_filters - 1, dtype=policy, name="filters")
            self.filters.build(fused_shape, sentence_shape)
        self.drop = keras.layers.Dropout(self.dropout, dtype=policy, name="drop")
        self.built = True

    def call(self, fused, sentence, words=None, token_ids=None, training=None):
        _, height, width, channels = ops.shape(fused)
        x = ops.reshape(fused, (-1, height * width, channels))
        positions = ops.cast(sine_positions(height, width, channels), x.dtype)
        memory = ops.cast(sentence, x.dtype)[:, None, :]

        query = x + positions
        attended = self.self_attention(query, x, query, training=training)
        x = self.self_norm(x + self.drop(attended, training=training))
        with warnings.catch_warnings():
            # Keras warns that a softmax over one token is 1: so it is in the paper (equation 9).
            warnings.filterwarnings("ignore", "You are using a softmax over axis", UserWarning)
            attended = self.cross_attention(x + positions, memory, memory, training=training)
        x = self.cross_norm(x + self.drop(attended, training=training))
        hidden = self.drop(ops.relu(self.feed_forward_in(x)), training=training)
        x = self.feed_forward_norm(x + self.drop(self.feed_forward_out(hidden), training=training))
        prior = ops.cast(ops.reshape(self.score(x), (-1, height, width, 1)), "float32")
        return self.filters.filter_again(prior, fused, sentence) if self.num_filters > 1 else prior

    def compute_output_shape(self, fused_shape, *_, **__):
        return (*fused_shape[:-1], 1)

    def compute_output_spec(self, fused, *_, **__):
        return keras.KerasTensor((*fused.shape[:-1], 1), dtype="float32")

    def get_config(self):
        return super().get_config() | {
            "num_heads": self.num_heads,
            "feed_forward_dim": self.feed_forward_dim,
            "dropout": self.dropout,
            "num_filters": self.num_filters,
        }
