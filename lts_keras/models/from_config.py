"""A model as the configuration describes it, with its starting weights."""

import zipfile

from lts_keras.config.errors import ConfigError
from lts_keras.models.backbones import make_backbone
from lts_keras.models.refiner import Refiner
from lts_keras.models.variants import make_lts
from lts_keras.weights.darknet import load_darknet
from lts_keras.weights.glove import load_glove

__all__ = ["model_from_config"]


def model_from_config(config, vocabulary, progress=print):
    """Builds an `LTS` and loads the weights of `config.weights`.

    Args:
        config: `Config`.
        vocabulary: list of str.
        progress: function that takes a line of text; told what was loaded.

    Returns:
        `LTS`; or, with `model.refiner_channels`, a `Refiner`.

    Raises:
        WeightsError: a file is missing, cut short or does not fit.
        ConfigError: an unknown backbone.
    """
    options = config.model
    if options.refiner_channels:
        return Refiner(options.refiner_channels, options.aspp_dim, options.aspp_rates)
    arguments = options.model_dump(exclude={"backbone", "backbone_learning_rate_multiplier", "refiner_channels"})
    model = make_lts(
        vocabulary=vocabulary,
        backbone=make_backbone(config.weights.backbone) if options.backbone == "file" else options.backbone,
        **arguments,
    )
    path = config.weights.backbone
    if path and options.backbone != "file":
        # The suffix does not tell: Darknet's files are called .weights or .conv.74.
        if zipfile.is_zipfile(path):
            raise ConfigError(
                f"weights.backbone: {path} is a .keras model and needs model.backbone: file. "
                f"Received: {options.backbone!r}"
            )
        progress(str(load_darknet(model.backbone, path)))
    if config.weights.glove:
        matrix, report = load_glove(config.weights.glove, model.vocabulary, dim=options.embedding_dim)
        model.sentence_encoder.load_embeddings(matrix)
        progress(str(report))
    return model
