"""The trained model of a work directory, as evaluation, export and prediction take it."""

import json
from pathlib import Path

from lts_keras.config.errors import ConfigError
from lts_keras.data.prepare.folder import data_folder
from lts_keras.data.prepare.records import MANIFEST_FILE, data_digest
from lts_keras.models.lts import LTS
from lts_keras.models.preset import CONFIG_FILE, WEIGHTS_FILE
from lts_keras.prediction.presence import Presence
from lts_keras.utils.files import digest
from lts_keras.utils.imports import import_modules

__all__ = [
    "calibrated_values",
    "model_of_preset",
    "origin_of_calibration",
    "trained_model",
    "trained_options",
    "uncalibrated_model",
]

_TRAINING_FILE = "training.json"
"""Beside the weights: with what configuration a preset was trained. One that was saved by hand has none."""


def uncalibrated_model(config, preset, cls=LTS):
    """Loads a preset and sets the threshold of `config.evaluate`, if it is a number.

    Args:
        config: `Config`. Its `imports` are imported first, so that the preset may hold classes of one's own.
        preset: path of the folder.
        cls: class that the model must have, `LTS` or `Refiner`.

    Returns:
        `cls` or a subclass.

    Raises:
        WeightsError: as `LTS.from_preset`.
        ConfigError: a key of `model` that was given and is another than the preset's; a refiner where an `LTS` is
            needed.
    """
    if cls is LTS and config.model.refiner_channels:
        raise ConfigError(
            "model.refiner_channels: a refiner answers from another model's features and not from a photo, so it is "
            "neither exported nor asked alone; `lts evaluate` judges it on data.features"
        )
    import_modules(config.imports)
    model = cls.from_preset(preset)
    _check_given(config.model, trained_options(preset), preset)
    if config.evaluate.threshold not in (None, "best"):
        model.threshold = config.evaluate.threshold
    return model


def model_of_preset(config, preset):
    """As `uncalibrated_model`, for a preset without the work directory that its calibration would lie in.

    Raises:
        ConfigError: also where `config.evaluate` asks for a calibration.
    """
    key = _calibrated_key(config.evaluate)
    if key:
        raise ConfigError(f"{key} is chosen by `lts evaluate` in a work directory; {preset} alone does not hold it")
    return uncalibrated_model(config, preset)


def trained_model(config, workdir):
    """The model of a work directory with what `config.evaluate` says of threshold and presence.

    Args:
        config: `Config`.
        workdir: folder with `train/preset/` and, for `evaluate.threshold: best` and `evaluate.presence: true`,
            `evaluate/calibration.json` made from the same preset and data.

    Returns:
        `LTS` or a subclass.

    Raises:
        WeightsError, ConfigError: as `uncalibrated_model` and `calibrated_values`.
    """
    model = uncalibrated_model(config, _preset(workdir))
    threshold, presence = calibrated_values(config, workdir)
    if threshold is not None:
        model.threshold = threshold
    if presence is not None:
        model.presence = presence
    return model


def calibrated_values(config, workdir):
    """What `lts evaluate` chose in a work directory, of what `config.evaluate` asks for.

    Args:
        config: `Config`.
        workdir: as for `trained_model`.

    Returns:
        Tuple: threshold as float, or `None` unless `evaluate.threshold` is `best`; `Presence`, or `None` unless
        `evaluate.presence` is on.

    Raises:
        ConfigError: something is asked for and was not chosen yet, or on another split, of another training or of
            other data.
    """
    options, path = config.evaluate, Path(workdir) / "evaluate" / "calibration.json"
    key = _calibrated_key(options)
    if key is None:
        return None, None
    if not path.is_file():
        own = " with evaluate.image_size: null" if options.image_size else ""
        raise ConfigError(f"{path}: no such file, and {key} is chosen there; run `lts evaluate` first{own}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        threshold, presence = found["threshold"], found["presence"]
        presence = Presence(**presence) if presence else None
        split, origin = found["split"], {name: found[name] for name in ("preset", "data_digest")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: cannot be read: {' '.join(str(error).split())}; run `lts evaluate` again") from None
    again = "; run `lts evaluate` again"
    if split != options.calibration_split:
        raise ConfigError(
            f"{path}: chosen on {split}, and evaluate.calibration_split is {options.calibration_split}{again}"
        )
    if (options.threshold == "best" and threshold is None) or (options.presence and presence is None):
        raise ConfigError(f"{path}: made without {key}{again}")
    _check_origin(origin, config, workdir, path, again)
    return threshold if options.threshold == "best" else None, presence if options.presence else None


def origin_of_calibration(config, workdir):
    """What a calibration belongs to: digests of the preset's weights and of the data, `None` where there are none."""
    weights, data_dir = _preset(workdir) / WEIGHTS_FILE, data_folder(config, workdir)
    return {
        "preset": digest(weights) if weights.is_file() else None,
        "data_digest": data_digest(data_dir) if (data_dir / MANIFEST_FILE).is_file() else None,
    }


def _check_origin(found, config, workdir, path, again):
    here = origin_of_calibration(config, workdir)
    if found["preset"] != here["preset"]:
        raise ConfigError(f"{path}: chosen for another training than the one in {_preset(workdir)}{again}")
    # A work directory may be handed on without its data.
    if here["data_digest"] not in (None, found["data_digest"]):
        raise ConfigError(f"{path}: chosen on other data than what lies in {data_folder(config, workdir)}{again}")


def _calibrated_key(options):
    if options.threshold == "best":
        return "evaluate.threshold: best"
    return "evaluate.presence: true" if options.presence else None


def _preset(workdir):
    return Path(workdir) / "train" / "preset"


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
