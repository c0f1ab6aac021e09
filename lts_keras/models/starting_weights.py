"""The weights that training starts from: what is frozen must have some, what got none is trained."""

import math
import zipfile
from pathlib import Path

from lts_keras.config.errors import ConfigError
from lts_keras.layers.darknet import convolutions
from lts_keras.models.freezing import switch
from lts_keras.weights.darknet import load_darknet
from lts_keras.weights.glove import load_glove

__all__ = ["check_given", "load_starting_weights"]

_DETECTOR = (
    "it holds a detector's convolutions: the published yolov3.weights has seen the photos of RefCOCO's val and test "
    "splits, so scores on them are no scores on unseen photos"
)


def check_given(config):
    """Refuses a model of which a frozen part would stay random, before anything is built.

    Raises:
        ConfigError: naming the key, and what to give.
    """
    options, weights = config.model, config.weights
    if weights.backbone is None and options.trainable_backbone != "all":
        is_darknet = options.backbone == "darknet53"
        give = "a Darknet file such as darknet53.conv.74" if is_darknet else "a .keras file with model.backbone: file"
        raise ConfigError(
            f"weights.backbone: model.trainable_backbone: {options.trainable_backbone} freezes {options.backbone}, "
            f"which has no weights: give {give}, weights.backbone: random if that is meant, or "
            f"model.trainable_backbone: all. Received: null"
        )
    if weights.glove is None and not options.trainable_embedding:
        raise ConfigError(
            "weights.glove: model.trainable_embedding: false freezes word vectors that are random: give a GloVe text "
            "file, weights.glove: random if that is meant, or model.trainable_embedding: true. Received: null"
        )


def load_starting_weights(model, config, progress=print):
    """Loads the files of `config.weights` into an `LTS` and says what became of every part.

    Args:
        model: `LTS`, as `build_model` gives it.
        config: `Config`.
        progress: function that takes a line of text.

    Raises:
        WeightsError: a file is missing, cut short or does not fit.
        ConfigError: a `.keras` file where a Darknet file belongs, or a cache of maps that must be trained.
    """
    path = config.weights.backbone
    if config.model.backbone == "file":
        progress(f"{path}: the backbone, {model.backbone.count_params():,} parameters")
    elif path in (None, "random"):
        progress(f"backbone: random, {_shares(model.backbone)}")
    else:
        _load_backbone(model, Path(path), config, progress)
    _load_words(model, config, progress)


def _load_backbone(model, path, config, progress):
    # The suffix does not tell: Darknet's files are called .weights or .conv.74.
    if zipfile.is_zipfile(path):
        raise ConfigError(
            f"weights.backbone: {path} is a .keras model and needs model.backbone: file. "
            f"Received: {config.model.backbone!r}"
        )
    report = load_darknet(model.backbone, path)
    progress(str(report))
    if report.is_detector:
        progress(f"{path}: {_DETECTOR}")
    frozen = [block for block in convolutions(model.backbone) if block.name in report.left_random]
    frozen = [block for block in frozen if not block.trainable]
    if not frozen:
        return
    if config.train.cache_features:
        raise ConfigError(
            f"train.cache_features: {path} leaves {len(frozen)} convolutions random ({frozen[0].name} to "
            f"{frozen[-1].name}), which must be trained: give a file that holds them, model.extra_convs: false where "
            "it is the extra ones, or train.cache_features: false"
        )
    # The model's own flag must be on, or Keras trains none of its parts; it would switch them all.
    flags = [(block, block.trainable) for block in model.backbone.layers]
    switch(model.backbone, True)
    for layer, flag in flags:
        switch(layer, flag or layer in frozen)
    names = f"{frozen[0].name} to {frozen[-1].name}" if len(frozen) > 1 else frozen[0].name
    progress(
        f"{names}: not in the file, so trained although model.trainable_backbone is {config.model.trainable_backbone}"
    )


def _load_words(model, config, progress):
    path, dim = config.weights.glove, config.model.embedding_dim
    if path in (None, "random"):
        state = "trained" if config.model.trainable_embedding else "frozen"
        progress(f"word vectors: random, {state}" + ("; weights.glove names a GloVe file" if path is None else ""))
        return
    matrix, report = load_glove(path, model.vocabulary, dim=dim)
    model.sentence_encoder.load_embeddings(matrix)
    progress(str(report))


def _shares(model):
    """How many parameters of a network train."""
    trained = sum(math.prod(variable.shape) for variable in model.trainable_weights)
    return f"{trained:,} of {model.count_params():,} parameters trained"
