"""What is in weights, models and prepared data, as something `rich` prints."""

import zipfile

import keras
from rich.console import Group
from rich.table import Table

from lts_keras.commands.inspect_model import count_parameters, model_table, weights_table
from lts_keras.commands.inspect_path import size_text
from lts_keras.data.prepare.records import read_manifest, verify_shards
from lts_keras.data.schema import DataError
from lts_keras.data.text import read_vocabulary
from lts_keras.models.lts import LTS
from lts_keras.models.preset import from_preset
from lts_keras.models.refiner import Refiner
from lts_keras.utils.files import digest
from lts_keras.weights import WeightsError

__all__ = ["darknet_contents", "data_contents", "keras_contents", "preset_contents"]

_SHOWN_WORDS = 12
_FACTS = (
    ("image size", "image_size", "{0} x {0} pixels"),
    ("tokens", "max_tokens", "{}"),
    ("threshold", "threshold", "{:g}"),
    ("channels of the features", "channels", "{}"),
)


def darknet_contents(path):
    """Convolutions by stage, laid against Darknet-53 with its six further ones; raises `WeightsError`."""
    return weights_table(path, extra_convs=True)


def preset_contents(path):
    """The model of a preset: its boxes and what it was made for; raises `WeightsError`."""
    return _boxes(from_preset(keras.Model, path))


def keras_contents(path):
    """The model in a `.keras` file: an LTS, a backbone or any other; raises `WeightsError`."""
    if not zipfile.is_zipfile(path):
        raise WeightsError(f"{path}: a .keras file that is cut short ({path.stat().st_size} bytes)")
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # whatever a foreign file makes Keras raise is one wrong file to the user
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise WeightsError(f"{path}: Keras cannot load this model: {reason.strip()}") from error
    return _boxes(model) if isinstance(model, LTS | Refiner) else _other(path, model)


def data_contents(path):
    """Splits with photos, refs and expressions of prepared data, every file compared with its digest.

    Raises:
        DataError: no manifest, or a file that is missing, cut or changed.
    """
    manifest = read_manifest(path)
    verify_shards(path)
    table = Table("data set / split")
    for column in ("photos", "refs", "expressions"):
        table.add_column(column, justify="right")
    keys, slices = ("photos", "refs", "expressions"), {}
    try:
        for shard in manifest["shards"]:
            for name, counts in shard["slices"].items():
                before = slices.get(name, dict.fromkeys(keys, 0))
                slices[name] = {key: before[key] + counts[key] for key in keys}
        for name, counts in sorted(slices.items()):
            table.add_row(name, *(f"{counts[key]:,}" for key in keys))
        photos, size = (sum(shard[key] for shard in manifest["shards"]) for key in ("photos", "bytes"))
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path / 'manifest.json'}: not a manifest of prepared data; run `lts prepare` again"
        ) from error
    words = read_vocabulary(path / "vocabulary.txt")
    return Group(
        table,
        f"{photos:,} photos in {len(manifest['shards'])} shards, {size_text(size)}, all as the manifest has them",
        _words(words),
        f"digest: {digest(path / 'manifest.json')}",
    )


def _boxes(model):
    """Boxes with parameters, and what the model was made for."""
    facts = Table(show_header=False)
    facts.add_row("class", f"{type(model).__module__}.{type(model).__name__}")
    for name, attribute, text in _FACTS:
        if hasattr(model, attribute):
            facts.add_row(name, text.format(getattr(model, attribute)))
    facts.add_row("precision", model.dtype_policy.name)
    vocabulary = getattr(model, "vocabulary", None)
    told = "vocabulary: none, so it cannot read expressions" if vocabulary is None else _words(vocabulary)
    return Group(model_table(model), facts, told)


def _words(words):
    more = " ..." if len(words) > _SHOWN_WORDS else ""
    return f"vocabulary: {len(words):,} words: {' '.join(words[:_SHOWN_WORDS])}{more}"


def _other(path, model):
    """Inputs and outputs, parameters, and the maps if it can be a backbone."""
    total, trainable = count_parameters(model)
    table = Table(show_header=False)
    table.add_row("class", f"{type(model).__name__} {model.name!r}")
    table.add_row("layers", f"{len(model.layers):,}")
    table.add_row("parameters", f"{total:,} ({trainable:,} trainable)")
    if not getattr(model, "inputs", None):
        return Group(table)
    for name in ("input", "output"):
        # A dict of maps has names; a Sequential has lists alone.
        tensors = getattr(model, name, getattr(model, f"{name}s"))
        for place, tensor in keras.tree.flatten_with_path(tensors):
            called = "/".join(map(str, place))
            table.add_row(f"{name} {called}".strip(), f"{tensor.dtype} {tuple(tensor.shape)}")
    try:
        return Group(table, "Can be a backbone (model.backbone: file):", weights_table(path))
    except WeightsError as error:
        return Group(table, f"Cannot be a backbone: {str(error).partition(': ')[2]}")
