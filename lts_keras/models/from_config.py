"""A model as the configuration describes it, with its starting weights."""

from lts_keras.models.refiner import Refiner
from lts_keras.models.starting_weights import check_given, load_starting_weights
from lts_keras.models.variants import make_lts
from lts_keras.models.vocabulary import model_vocabulary
from lts_keras.utils.imports import import_modules

__all__ = ["build_model", "model_from_config"]

_NOT_ARGUMENTS = {"variant", "backbone", "backbone_learning_rate_multiplier", "refiner_channels"}


def model_from_config(config, vocabulary, progress=print):
    """Builds an `LTS` and loads the weights of `config.weights`.

    Args:
        config: `Config`.
        vocabulary: list of str, the words of the train split; `weights.glove_words` adds to them.
        progress: function that takes a line of text; told what was loaded and what stays random.

    Returns:
        `LTS`; or, with `model.refiner_channels`, a `Refiner`.

    Raises:
        WeightsError: a file is missing, cut short or does not fit.
        ConfigError: an unknown backbone, or something frozen that gets no weights.
    """
    import_modules(config.imports)
    if config.model.refiner_channels:
        return build_model(config, vocabulary)
    check_given(config)
    model = build_model(config, model_vocabulary(config, vocabulary, progress))
    load_starting_weights(model, config, progress)
    return model


def build_model(config, vocabulary):
    """The same model with random weights, but for a backbone that is a file as a whole."""
    options, policy = config.model, config.train.precision
    if options.refiner_channels:
        return Refiner(
            options.refiner_channels,
            options.aspp_dim,
            options.aspp_rates,
            options.threshold,
            config.train.synchronized_batch_norm,
            dtype=policy,
        )
    return make_lts(
        vocabulary=vocabulary,
        backbone=config.weights.backbone if options.backbone == "file" else options.backbone,
        synchronized_batch_norm=config.train.synchronized_batch_norm,
        dtype=policy,
        **options.model_dump(exclude=_NOT_ARGUMENTS),
    )
