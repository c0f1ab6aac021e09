"""Presets: a folder that holds all that predicting on a raw photo and string needs."""

import contextlib
import importlib
import json
from pathlib import Path

import keras

from lts_keras.utils.files import atomic_folder
from lts_keras.weights import WeightsError

__all__ = ["CONFIG_FILE", "VOCABULARY_FILE", "WEIGHTS_FILE", "from_preset", "save_to_preset"]

CONFIG_FILE = "model.json"
WEIGHTS_FILE = "model.weights.h5"
VOCABULARY_FILE = "vocabulary.txt"


def save_to_preset(model, folder):
    """Writes `model.json`, `model.weights.h5` and, where the model has one, `vocabulary.txt`; aside, then renamed.

    The configuration holds the boxes whole, so that a backbone that came from a file needs that file no more. Nothing
    of a training goes along: neither the optimizer's state nor what the model was compiled with.

    Args:
        model: `LTS`, a subclass of it that is registered with Keras, or `Refiner`.
        folder: path.
    """
    model.build_from_config({})  # layers that a subclass added may have no variables yet
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    vocabulary = config["config"].get("vocabulary")
    if vocabulary is not None:
        config["config"]["vocabulary"] = None  # stands in a file of its own, which people can read
    with atomic_folder(Path(folder)) as aside:
        (aside / CONFIG_FILE).write_text(json.dumps(config, indent=1), encoding="utf-8")
        with _without_optimizer(model):
            model.save_weights(aside / WEIGHTS_FILE)
        if vocabulary is not None:
            (aside / VOCABULARY_FILE).write_text("".join(f"{word}\n" for word in vocabulary), encoding="utf-8")


def from_preset(cls, folder):
    """Reads what `save_to_preset` wrote.

    Args:
        cls: class that the model must have; a subclass will do, and comes back as itself.
        folder: path.

    Returns:
        The model, not compiled.

    Raises:
        WeightsError: naming the file that is missing, cut short or does not fit, or the class that is not known.
    """
    folder = Path(folder)
    path = folder / CONFIG_FILE
    config = _read(path, lambda file: json.loads(file.read_text(encoding="utf-8")))
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise WeightsError(f"{path}: not the configuration of a model")
    _check_registered(config, path)
    if (folder / VOCABULARY_FILE).exists():
        words = _read(folder / VOCABULARY_FILE, lambda file: file.read_text(encoding="utf-8").split("\n")[:-1])
        config["config"]["vocabulary"] = words
    if "gru_units" in config["config"]:
        raise WeightsError(f"{path}: written by a version of this package before boxes were injected; train again")
    try:
        model = keras.saving.deserialize_keras_object(config)
    except Exception as error:  # whatever a class of one's own raises is one preset that cannot be read
        raise WeightsError(f"{path}: the model cannot be made from its configuration: {_reason(error)}") from error
    if not isinstance(model, cls):
        raise WeightsError(f"{path}: the configuration of a {type(model).__name__} and not of an {cls.__name__}")
    _read(folder / WEIGHTS_FILE, model.load_weights)
    return model


@contextlib.contextmanager
def _without_optimizer(model):
    """Within the block the model has no optimizer; Keras writes its state, twice the weights, beside them."""
    optimizers = {name: value for name, value in vars(model).items() if isinstance(value, keras.optimizers.Optimizer)}
    try:
        for name in optimizers:
            setattr(model, name, None)
        yield
    finally:
        for name, optimizer in optimizers.items():
            setattr(model, name, optimizer)


def _check_registered(config, path):
    """Refuses a class that Keras does not know, in the model or any of its parts."""
    if isinstance(config, list):
        for item in config:
            _check_registered(item, path)
    if not isinstance(config, dict):
        return
    name, module = config.get("class_name"), config.get("module") or "keras"
    package = module.partition(".")[0]
    if isinstance(name, str) and package == __name__.partition(".")[0]:
        # Boxes of this library that `LTS` itself does not need, such as the transformer, register when imported.
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    foreign = isinstance(name, str) and package not in ("keras", "builtins")
    if foreign and keras.saving.get_registered_object(config.get("registered_name")) is None:
        raise WeightsError(
            f"{path}: the class {name} is not registered: put @keras.saving.register_keras_serializable on it and "
            f"import its module {module} first (for commands: imports: [{module}] in the configuration)"
        )
    for value in config.values():
        _check_registered(value, path)


def _read(path, read):
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; a preset holds {CONFIG_FILE}, {WEIGHTS_FILE} and {VOCABULARY_FILE}")
    try:
        return read(path)
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{path}: cannot be read, cut short or of another model: {_reason(error)}") from error


def _reason(error):
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
