"""Presets: a folder that holds all that predicting on a raw photo and string needs."""

import json
from pathlib import Path

import keras

from lts_keras.utils.files import atomic_folder
from lts_keras.weights import WeightsError

__all__ = ["from_preset", "save_to_preset"]

CONFIG_FILE = "model.json"
WEIGHTS_FILE = "model.weights.h5"
VOCABULARY_FILE = "vocabulary.txt"


def save_to_preset(model, folder):
    """Writes `model.json`, `model.weights.h5` and, where the model has one, `vocabulary.txt`; aside, then renamed."""
    config = keras.saving.serialize_keras_object(model)
    config["config"]["vocabulary"] = None  # stands in a file of its own, which people can read
    config.pop("compile_config", None)
    with atomic_folder(Path(folder)) as aside:
        (aside / CONFIG_FILE).write_text(json.dumps(config, indent=1), encoding="utf-8")
        model.save_weights(aside / WEIGHTS_FILE)
        if model.vocabulary is not None:
            (aside / VOCABULARY_FILE).write_text("".join(f"{word}\n" for word in model.vocabulary), encoding="utf-8")


def from_preset(cls, folder):
    """Reads what `save_to_preset` wrote.

    Raises:
        WeightsError: naming the file that is missing, cut short or does not fit.
    """
    folder = Path(folder)
    config = _read(folder / CONFIG_FILE, lambda path: json.loads(path.read_text(encoding="utf-8")))
    if config.get("registered_name") != "lts_keras>LTS":
        raise WeightsError(f"{folder / CONFIG_FILE}: not the configuration of an LTS model")
    if (folder / VOCABULARY_FILE).exists():
        words = (folder / VOCABULARY_FILE).read_text(encoding="utf-8").split("\n")[:-1]
        config["config"]["vocabulary"] = words
    model = keras.saving.deserialize_keras_object(config)
    _read(folder / WEIGHTS_FILE, model.load_weights)
    return model


def _read(path, read):
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; a preset holds {CONFIG_FILE}, {WEIGHTS_FILE} and {VOCABULARY_FILE}")
    try:
        return read(path)
    except (OSError, ValueError, KeyError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise WeightsError(f"{path}: cannot be read, cut short or of another model: {reason}") from error
