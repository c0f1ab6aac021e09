"""The trained model of a work directory, as evaluation, export and prediction take it."""

import json
from pathlib import Path

from lts_keras.config.errors import ConfigError
from lts_keras.models.lts import LTS
from lts_keras.models.preset import CONFIG_FILE
from lts_keras.utils.imports import import_modules

__all__ = ["model_of_preset", "trained_model", "trained_options"]

_TRAINING_FILE = "training.json"
"""Beside the weights: with what configuration a preset was trained. One that was saved by hand has none."""


def model_of_preset(config, preset):
    """Loads a preset and sets the threshold of `config.evaluate`.

    Args:
        config: `Config`. Its `imports` are imported first, so that the preset may hold classes of one's own.
        preset: path of the folder.

    Returns:
        `LTS` or a subclass.

    Raises:
        WeightsError: as `LTS.from_preset`.
        ConfigError: a key of `model` that was given and is another than the preset's.
    """
    import_modules(config.imports)
    model = LTS.from_preset(preset)
    _check_given(config.model, trained_options(preset), preset)
    if config.evaluate.threshold is not None:
        model.threshold = config.evaluate.threshold
    return model


def trained_model(config, workdir):
    """As `model_of_preset`, of a work directory: a folder with `train/preset/`."""
    return model_of_preset(config, Path(workdir) / "train" / "preset")


def trained_options(preset):
    """What a preset says of the keys of `model`.

    Args:
        preset: path of the folder.

    Returns:
        dict of plain values: the whole section where the preset was trained from a configuration; of one that was
        saved by hand, what `LTS` itself has.
    """
    path = Path(preset) / _TRAINING_FILE
    try:
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))["config"]["model"]
        path = Path(preset) / CONFIG_FILE
        saved = json.loads(path.read_text(encoding="utf-8"))["config"]
        return {key: saved[key] for key in ("image_size", "image_resize", "max_tokens", "threshold") if key in saved}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error


def _check_given(options, known, preset):
    given = options.model_dump(mode="json", include=options.model_fields_set - {"variant"})
    for key, value in given.items():
        if key not in known or known[key] == value:
            continue
        hint = "; evaluate.threshold sets another" if key == "threshold" else ""
        raise ConfigError(
            f"model.{key}: {preset} was trained with {_text(known[key])}, which this command cannot change{hint}. "
            f"Received: {_text(value)}"
        )


def _text(value):
    return "null" if value is None else json.dumps(value) if isinstance(value, bool | list) else str(value)
