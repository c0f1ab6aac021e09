"""An `LTS` as ONNX files: whole, or in two halves."""

import hashlib
import importlib.util
import tempfile
from pathlib import Path

from lts_keras.export.onnx.child import run_child
from lts_keras.export.onnx.trace import write_task
from lts_keras.prediction.settings import ONNX_KEY, ONNX_WEIGHTS_KEY, ModelSettings

__all__ = ["export_halves", "export_onnx", "write_onnx"]

MISSING = "ONNX export needs the extra `onnx`: pip install lts-keras[onnx]"


def export_onnx(model, path):
    """Writes the whole network: `image` (N, S, S, 3) and `token_ids` (N, T) to `mask` and `prior`, probabilities.

    What else an answer takes (vocabulary, threshold, ...) stands in a metadata property, as `ModelSettings`.

    Args:
        model: `LTS`.
        path: path of the `.onnx` file.

    Returns:
        `path` as a `Path`.

    Raises:
        ImportError: without the extra `onnx`.
        ExportError: the converting process failed or was killed, or the weights are more than a file holds, 2 GiB.
    """
    write_onnx(model, {"whole": Path(path)})
    return Path(path)


def export_halves(model, encode, segment):
    """Writes the network in halves, for several sentences on one photo.

    Args:
        model: `LTS`.
        encode: path of the first file: `image` (N, S, S, 3) to `feature_0`, `feature_1`, ...
        segment: path of the second file: the features of one image (1, ...) and `token_ids` (K, T) to `mask` and
            `prior`, K rows.

    Returns:
        Both as `Path`.

    Raises:
        ImportError, ExportError: as for `export_onnx`.
    """
    files = {"encode": Path(encode), "segment": Path(segment)}
    write_onnx(model, files)
    return tuple(files.values())


def write_onnx(model, files):
    """Writes several parts in one process, see `export_onnx` and `export_halves`.

    Args:
        model: `LTS`.
        files: dict to `Path` from `"whole"`, or from `"encode"` and `"segment"`, or from all three.

    Raises:
        ImportError, ExportError: as for `export_onnx`.
    """
    if importlib.util.find_spec("tf2onnx") is None:
        raise ImportError(MISSING)
    properties = {ONNX_WEIGHTS_KEY: _digest(model)}
    if model.vocabulary is not None:
        properties[ONNX_KEY] = ModelSettings.of_model(model).to_json()
    with tempfile.TemporaryDirectory() as folder:
        write_task(model, folder, files, properties)
        names = " and ".join(path.name for path in files.values())
        run_child("lts_keras.export.onnx.convert", folder, f"converting to {names}")


def _digest(model):
    """What the weights are, so that halves of different models are not put together."""
    found = hashlib.sha256()
    for weight in model.variables:
        if "float" in weight.dtype:
            found.update(weight.numpy().tobytes())
    return found.hexdigest()
