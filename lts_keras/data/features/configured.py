"""The folder of features that a configuration names, checked against it."""

from lts_keras.config.errors import ConfigError
from lts_keras.data.features.folder import open_features

__all__ = ["configured_features"]


def configured_features(config):
    """Opens `data.features` for a refiner.

    Args:
        config: `Config`.

    Returns:
        `FeatureFolder`; `None` where the configuration is of an `LTS`.

    Raises:
        ConfigError: `model.refiner_channels` without `data.features`.
        DataError: a folder that cannot be used, or features of another number of channels.
    """
    if not config.model.refiner_channels:
        return None
    if config.data.features is None:
        raise ConfigError(
            "model.refiner_channels: a refiner needs data.features, a folder with another model's features, see "
            "docs/refiner.md. Received: null"
        )
    features = open_features(config.data.features)
    features.check_channels(config.model.refiner_channels)
    return features
