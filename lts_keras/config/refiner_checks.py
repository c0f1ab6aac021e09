"""What of a configuration cannot go with `model.refiner_channels`: a refiner sees no photo and no sentence."""

__all__ = ["check_refiner"]


def check_refiner(config):
    """Raises a `ValueError` for keys that a refiner cannot follow, or for features that no refiner takes."""
    channels, features = config.model.refiner_channels, config.data.features
    if channels is None:
        if features is not None:
            raise ValueError(
                "data.features needs model.refiner_channels, the number of their channels: only a refiner takes them. "
                "Received: null"
            )
        return
    if config.train.sampling == "per_image":
        raise ValueError(
            "train.sampling: a refiner takes sentences one by one, per_ref or per_expression. Received: per_image"
        )
    refused = {
        "train.augment.flip": config.train.augment.flip,
        "train.augment.color": config.train.augment.color,
        "train.augment.scale": config.train.augment.scale,
        "train.cache_features": config.train.cache_features,
        "train.data_service": config.train.data_service,
        "train.box_supervision": config.train.box_supervision,
        "evaluate.image_size": config.evaluate.image_size,
        "evaluate.presence": config.evaluate.presence,
    }
    for key, value in refused.items():
        if value:
            raise ValueError(
                f"{key} cannot go with model.refiner_channels: a refiner has another model's features and no photo. "
                f"Received: {value}"
            )
