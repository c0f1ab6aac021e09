"""What every locator is: a layer that says where in the image the sentence points (figure 2, "localization")."""

import inspect

import keras
from keras import ops

from lts_keras.layers.resize import upsample

__all__ = ["Locator", "NoLocator", "call_with", "join_halves", "locate"]


class Locator(keras.layers.Layer):
    """Base class of the locators; one of your own needs `call` alone.

    The features come in two halves: `fused = concat(upsample(joint), visual)`, where `visual` depends on the image
    alone. LTS asks `locate`, which joins the halves and asks `call`; a locator that is cheaper on the halves, as a dot
    product is, overrides `locate` too. Both must give the same logits.

    Call arguments:
        fused: Float tensor of shape `(batch, height, width, channels)`.
        sentence: Float tensor of shape `(batch, sentence_dim)`.
        words: Float tensor of shape `(batch, tokens, sentence_dim)`, zero where there is no word; or `None`.
        token_ids: Integer tensor of shape `(batch, tokens)`, right-padded with 0.
        training: bool.

    Returns:
        Float32 logits of shape `(batch, height, width, 1)`.

    A `call` that does not name `words`, `token_ids` or `training` is not given them.
    """

    def call(self, fused, sentence, words=None, token_ids=None, training=None):
        raise NotImplementedError(f"{type(self).__name__} must have call(fused, sentence, ...), which gives the prior")

    def locate(self, joint, visual, sentence, words=None, token_ids=None, training=None):
        """The same on the halves of `fused`, the left one still at stride 16.

        Args:
            joint: Float tensor `(batch, height / 2, width / 2, c)`.
            visual: Float tensor `(batch, height, width, channels - c)`.
            sentence, words, token_ids, training: as for `call`.

        Returns:
            Float32 logits of shape `(batch, height, width, 1)`.
        """
        fused = join_halves(joint, visual)
        return call_with(self, fused, sentence, words=words, token_ids=token_ids, training=training)


@keras.saving.register_keras_serializable(package="lts_keras")
class NoLocator(keras.layers.Layer):
    """Stands where there is no localization (table 2, the rows without filter): the head gets no prior.

    Returns:
        `None`.
    """

    def call(self, fused, sentence, words=None, token_ids=None, training=None):
        return None

    def locate(self, joint, visual, sentence, words=None, token_ids=None, training=None):
        """Gives `None`, as `call`."""
        return None

    def get_config(self):
        return super().get_config()  # Keras makes none of a dtype that is a policy object


def locate(locator, joint, visual, sentence, words=None, token_ids=None, training=None):
    """Asks any layer for the prior: its `locate`, or, on the joined halves, its call; as `Locator.locate`."""
    ask = getattr(locator, "locate", None)
    if ask is None:
        return Locator.locate(locator, joint, visual, sentence, words, token_ids, training)
    return ask(joint, visual, sentence, words=words, token_ids=token_ids, training=training)


def join_halves(joint, visual):
    """Returns `fused`, `(batch, height, width, channels)`, of its halves (equation 7)."""
    return ops.concatenate([upsample(joint), ops.cast(visual, joint.dtype)], axis=-1)


def call_with(layer, *arguments, **optional):
    """Calls a layer with those of the optional arguments that its `call` names."""
    names = inspect.signature(layer.call).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in names.values())
    return layer(*arguments, **{name: value for name, value in optional.items() if takes_all or name in names})
