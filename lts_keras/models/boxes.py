"""Checks the five boxes of an `LTS` and makes their variables."""

import re

import keras

from lts_keras.layers.locator import NoLocator, call_with
from lts_keras.layers.prior_upsampler import PriorUpsampler
from lts_keras.models.three_maps import STRIDES

__all__ = ["build_boxes", "check_box", "serialize_box"]

_METHODS = {"fusion": ("encode_image", "fuse", "fusion_dim")}


def check_box(name, box):
    """Raises a `ValueError` naming the argument, unless `box` is `None` or a layer that can stand there."""
    if box is None:
        return
    if isinstance(box, str) and name == "backbone":
        raise ValueError(
            f"backbone must be a layer: lts_keras.models.backbones.make_backbone({box!r}) makes it. Received: {box!r}"
        )
    if not isinstance(box, keras.layers.Layer):
        raise ValueError(f"{name} must be a layer, or None for the paper's. Received: {box!r}")
    missing = [method for method in _METHODS.get(name, ()) if not hasattr(box, method)]
    if missing:
        raise ValueError(f"{name} must have {', '.join(_METHODS[name])}. Received: {box!r}, without {missing}")


def serialize_box(box):
    """A box's class and config, without the shapes it was built for and what it was compiled with.

    `build_boxes` builds it again. From the shapes, Keras would mark a layer without `build` as built, empty as it is.
    """
    config = keras.saving.serialize_keras_object(box)
    return {key: value for key, value in config.items() if key not in ("build_config", "compile_config")}


def build_boxes(model):
    """Makes the variables of all boxes of an `LTS`; one that has its own already keeps them.

    Raises:
        ValueError: for boxes that do not fit together.
    """
    without_prior = isinstance(model.locator, NoLocator)
    if without_prior and isinstance(model.segmentation_head, PriorUpsampler):
        raise ValueError("segmentation_head: PriorUpsampler needs a prior. Received: NoLocator as locator")
    if without_prior and not getattr(model.fusion, "use_sentence", True):
        raise ValueError("without a locator, fusion must use the sentence: none would enter the model")
    token_ids = keras.Input((model.max_tokens,), dtype="int32")
    sentence, words = _sentence(model, token_ids)
    channels = {name: model.backbone.output[name].shape[-1] for name in STRIDES}
    if not model.fusion.built:
        maps_shape = {name: (None, None, None, count) for name, count in channels.items()}
        model.fusion.build(maps_shape, (None, sentence.shape[-1]))
    fused = keras.Input((None, None, 2 * model.fusion.fusion_dim), dtype=model.fusion.compute_dtype)
    if without_prior:
        model.locator.built = True
    prior = None if without_prior else _prior(model, fused, sentence, words, token_ids)
    _build_head(model, fused, prior)


def _sentence(model, token_ids):
    """Symbolic outputs of the sentence encoder, which is built by that."""
    outputs = _ask("sentence_encoder", model.sentence_encoder, token_ids)
    sentence, words = outputs if isinstance(outputs, tuple | list) else (outputs, None)
    if len(sentence.shape) != 2 or sentence.shape[-1] is None:
        raise ValueError(f"sentence_encoder must give (batch, width) for each sentence. Received: {sentence.shape}")
    return sentence, words


def _prior(model, fused, sentence, words, token_ids):
    """Symbolic output of the locator, which is built by that."""
    prior = _ask("locator", model.locator, fused, sentence, words=words, token_ids=token_ids)
    if len(getattr(prior, "shape", ())) != 4 or prior.shape[-1] != 1:
        found = getattr(prior, "shape", prior)
        raise ValueError(f"locator must give logits (batch, height, width, 1). Received: {found}")
    return prior


def _build_head(model, fused, prior):
    mask = _ask("segmentation_head", model.segmentation_head, fused, prior)
    if len(getattr(mask, "shape", ())) != 4 or mask.shape[-1] != 1:
        found = getattr(mask, "shape", mask)
        raise ValueError(f"segmentation_head must give logits (batch, 2 * height, 2 * width, 1). Received: {found}")


def _ask(name, box, *arguments, **optional):
    """Calls a box on symbols, which builds it; what a box of one's own raises becomes one line."""
    try:
        return call_with(box, *arguments, **optional)
    except Exception as error:
        text = re.sub("\x1b\\[[0-9;]*m", "", str(error)).partition("Arguments received")[0]
        reason = " ".join(text.split()) or type(error).__name__
        raise ValueError(f"{name}: {type(box).__name__} cannot be called: {reason}") from error
