import keras
import numpy as np
import pytest
from keras import ops

from lts_keras.layers.locator import Locator, NoLocator, join_halves, locate
from lts_keras.layers.relevance_filter import RelevanceFilter
from tests.testing import assert_independent, check_layer


@keras.saving.register_keras_serializable(package="tests")
class Energy(Locator):
    """The squared length of the features times a learned factor and the first number of the sentence."""

    def build(self, fused_shape, sentence_shape):
        self.factor = self.add_weight((), initializer="ones", name="factor")

    def call(self, fused, sentence):
        energy = ops.sum(fused**2, axis=-1, keepdims=True)
        return ops.cast(self.factor * energy * sentence[:, :1, None, None], "float32")

    def get_config(self):
        return super().get_config()


def halves(batch=2):
    random = np.random.default_rng(0)
    return {
        "joint": random.normal(size=(batch, 2, 3, 4)).astype("float32"),
        "visual": random.normal(size=(batch, 4, 6, 5)).astype("float32"),
        "sentence": random.normal(size=(batch, 7)).astype("float32"),
    }


def joined(values):
    wide = values["joint"].repeat(2, axis=1).repeat(2, axis=2)
    return np.concatenate([wide, values["visual"]], axis=-1)


def test_a_locator_with_call_alone_is_a_sound_layer():
    values = halves()
    check_layer(
        Energy, {}, {"fused": joined(values), "sentence": values["sentence"]}, (2, 4, 6, 1), always_float32=True
    )


def test_locate_joins_the_halves_and_hands_on_what_call_names():
    values, layer = halves(), Energy()
    expected = (joined(values) ** 2).sum(axis=-1, keepdims=True) * values["sentence"][:, :1, None, None]
    np.testing.assert_allclose(join_halves(values["joint"], values["visual"]), joined(values))
    # Neither words nor token ids are asked for, so they are not given.
    found = layer.locate(**values, words=np.zeros((2, 3, 7)), token_ids=np.ones((2, 3)), training=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_allclose(locate(layer, **values, words=None, token_ids=None, training=False), expected, rtol=1e-4)
    assert_independent(layer.locate, halves(batch=3))


def test_a_layer_that_knows_nothing_of_locators_is_asked_too():
    class Brightness(keras.layers.Layer):
        def call(self, fused, sentence, training=None):
            return ops.mean(fused, axis=-1, keepdims=True) + (1.0 if training else 0.0)

    values = halves()
    expected = joined(values).mean(axis=-1, keepdims=True)
    np.testing.assert_allclose(locate(Brightness(), **values, training=True), expected + 1, atol=1e-6)


def test_a_locate_of_its_own_is_taken():
    values, layer = halves(), RelevanceFilter(2)
    layer(joined(values), values["sentence"])
    np.testing.assert_allclose(locate(layer, **values), layer.locate(**values))


def test_the_base_class_alone_is_no_locator():
    with pytest.raises(NotImplementedError, match=r"Locator must have call\(fused, sentence"):
        Locator().call(None, None)


def test_no_locator_gives_no_prior():
    layer = NoLocator(dtype="mixed_bfloat16", name="locator")
    assert layer.locate(**halves()) is None and layer.call(None, None) is None
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is NoLocator and again.get_config() == layer.get_config()
