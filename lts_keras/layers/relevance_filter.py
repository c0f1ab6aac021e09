"""Relevance filtering: where in the image is what the sentence speaks of (figure 2, "localization")."""

import keras
from keras import ops

from lts_keras.layers.locator import Locator
from lts_keras.layers.resize import upsample

__all__ = ["RelevanceFilter", "SharedFilter", "WordFilter"]


def _small():
    """Over many channels a plain initialisation gives first logits in the tens; this keeps them of order 1."""
    return keras.initializers.VarianceScaling(0.02, "fan_avg", "uniform")


def _respond(features, kernels):
    """Dot product of each position with each kernel, in float32: over 1024 channels float16 overflows.

    Args:
        features: Float tensor `(batch, height, width, channels)`.
        kernels: Float tensor `(batch, channels, filters)`.

    Returns:
        Float32 tensor `(batch, height, width, filters)`.
    """
    _, height, width, channels = ops.shape(features)
    flat = ops.reshape(ops.cast(features, "float32"), (-1, height * width, channels))
    return ops.reshape(ops.matmul(flat, kernels), (-1, height, width, kernels.shape[-1]))


def _chain(prior, responses):
    """Filter i sees the features weighted by the sigmoid of map i - 1, a factor that leaves the dot product."""
    for index in range(responses.shape[-1]):
        prior = ops.sigmoid(prior) * responses[..., index : index + 1]
    return prior


class _Filter(Locator):
    """A locator that scores each position with kernels.

    Children have `make_kernels(sentence, words, token_ids)`, which gives float32 `(batch, channels, filters)`.
    """

    def call(self, fused, sentence, words=None, token_ids=None, training=None):
        return self._combine(_respond(fused, self.make_kernels(sentence, words, token_ids)))

    def locate(self, joint, visual, sentence, words=None, token_ids=None, training=None):
        """The same on the halves of `fused`, without concatenating them and the left one still at stride 16.

        The dot product over a concatenation is the sum over its parts, and it commutes with nearest upsampling.
        Arguments and result as in `Locator`.
        """
        kernels = self.make_kernels(sentence, words, token_ids)
        width = joint.shape[-1]
        return self._combine(upsample(_respond(joint, kernels[:, :width])) + _respond(visual, kernels[:, width:]))

    def filter_again(self, prior, fused, sentence, words=None, token_ids=None):
        """Lets a prior that is there already pass all filters of this layer, as if it came from a filter before them.

        Args:
            prior: Float tensor of logits `(batch, height, width, 1)`.
            fused, sentence, words, token_ids: as for `call`.

        Returns:
            Float32 logits of shape `(batch, height, width, 1)`.
        """
        return _chain(prior, _respond(fused, self.make_kernels(sentence, words, token_ids)))

    def _combine(self, responses):
        return _chain(responses[..., :1], responses[..., 1:])

    def compute_output_shape(self, fused_shape, *_, **__):
        return (*fused_shape[:-1], 1)

    def compute_output_spec(self, fused, *_, **__):
        return keras.KerasTensor((*fused.shape[:-1], 1), dtype="float32")

    def get_config(self):
        # Without it, Keras makes the config of the arguments, and fails where the dtype is a policy object.
        return super().get_config()


@keras.saving.register_keras_serializable(package="lts_keras")
class RelevanceFilter(_Filter):
    """Scores every image position against one kernel made from the sentence.

    The kernel differs per example, so this is a batched dot product and not a `Conv2D` (equation 8).

    With `num_filters` n > 1 (table 5), filter i has a projection of its own and sees the original features times the
    sigmoid of map i - 1; the last map is the prior.

    Args:
        num_filters: int. Filters in a row. Defaults to `1`.

    Call arguments:
        fused: Float tensor of shape `(batch, height, width, channels)`.
        sentence: Float tensor of shape `(batch, sentence_dim)`.

    Returns:
        Logits of shape `(batch, height, width, 1)`, always `float32`: the sum over channels overflows `float16`.

    Reference:
     - Jing et al., "Locate then Segment", CVPR 2021, section 3.2.
    """

    def __init__(self, num_filters=1, **kwargs):
        super().__init__(**kwargs)
        if num_filters < 1:
            raise ValueError(f"num_filters must be at least 1. Received: {num_filters}")
        self.num_filters = num_filters
        self.projections = []

    def build(self, fused_shape, sentence_shape, *_, **__):
        """Makes one projection per filter, as wide as `fused`."""
        for index in range(self.num_filters):
            projection = keras.layers.Dense(
                fused_shape[-1], kernel_initializer=_small(), dtype="float32", name=f"projections_{index}"
            )
            projection.build((None, sentence_shape[-1]))
            self.projections.append(projection)
        self.built = True

    def make_kernels(self, sentence, words=None, token_ids=None):
        """Kernels `(batch, channels, num_filters)` from the sentence."""
        sentence = ops.cast(sentence, "float32")
        return ops.stack([projection(sentence) for projection in self.projections], axis=-1)

    def get_config(self):
        return super().get_config() | {"num_filters": self.num_filters}


@keras.saving.register_keras_serializable(package="lts_keras")
class WordFilter(_Filter):
    """One kernel per word, the maps combined over the real words (table 5, "LTS-WordFilter", after DMN).

    The maps are combined with a softmax weight per word, made from the word itself: with equal weights this would be
    equation 8 again, since the mean of the words' kernels is the kernel of their mean. The combination is linear in
    the maps, so it is applied to the kernels. An empty sentence gives zeros.

    Call arguments:
        fused: Float tensor of shape `(batch, height, width, channels)`.
        sentence: Float tensor of shape `(batch, width)`; not used.
        words: Float tensor of shape `(batch, tokens, width)`.
        token_ids: Integer tensor of shape `(batch, tokens)`, 0 where there is no word.

    Returns:
        Float32 logits of shape `(batch, height, width, 1)`.
    """

    def build(self, fused_shape, sentence_shape, *_, **__):
        """Makes the projection of a word to its kernel and to its weight."""
        self.projection = keras.layers.Dense(
            fused_shape[-1], kernel_initializer=_small(), dtype="float32", name="projection"
        )
        self.word_score = keras.layers.Dense(1, use_bias=False, dtype="float32", name="word_score")
        for layer in (self.projection, self.word_score):
            layer.build((None, None, sentence_shape[-1]))
        self.built = True

    def make_kernels(self, sentence, words, token_ids):
        """Kernels `(batch, channels, 1)`: the words' kernels times the words' weights."""
        words = ops.cast(words, "float32")
        real = ops.cast(ops.not_equal(token_ids, 0), "float32")[..., None]
        scores = self.word_score(words) - 1e9 * (1 - real)
        weights = ops.softmax(scores, axis=1) * real
        return ops.matmul(ops.transpose(self.projection(words), (0, 2, 1)), weights)


@keras.saving.register_keras_serializable(package="lts_keras")
class SharedFilter(_Filter):
    """One learned kernel for all sentences: what is left of equation 8 in table 2's row without filter.

    Args and call arguments as `RelevanceFilter`; the sentence is not used.

    Returns:
        Float32 logits of shape `(batch, height, width, 1)`.
    """

    def build(self, fused_shape, *_, **__):
        """Makes the kernel and a bias."""
        options = {"dtype": "float32", "autocast": False}  # half precision policies would cast them down in `call`
        self.kernel = self.add_weight((fused_shape[-1], 1), initializer=_small(), name="kernel", **options)
        self.bias = self.add_weight((1,), initializer="zeros", name="bias", **options)
        self.built = True

    def make_kernels(self, sentence, words=None, token_ids=None):
        """The kernel, once per example: `(batch, channels, 1)`."""
        return ops.broadcast_to(self.kernel[None], (ops.shape(sentence)[0], *self.kernel.shape))

    def _combine(self, responses):
        return responses + self.bias
