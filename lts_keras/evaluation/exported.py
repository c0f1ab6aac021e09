"""Exports as networks to be judged: the `segment_tensors` of a SavedModel, and an ONNX file."""

from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the operators of the tokenizer, which the graph holds

from lts_keras.prediction.onnx_network import OnnxNetwork, holds_onnx
from lts_keras.prediction.settings import SETTINGS_FILE, ModelSettings
from lts_keras.weights import WeightsError

__all__ = ["ExportedNetwork", "open_export"]

_SIGNATURE = "segment_tensors"


class ExportedNetwork:
    """An export with what judging needs to know, as `ModelNetwork` has it.

    Args:
        kind: `"saved_model"`, `"onnx"` or `"onnx_int8"`.
        path: of the export, for messages.
        settings: `ModelSettings`.
        run: function of float32 images `(B, S, S, 3)`, int32 token ids `(N, T)`, and the image that each of these
            belongs to, int32 `(N,)`, that gives `mask` and `prior`, N rows.
    """

    num_devices = 1

    def __init__(self, kind, path, settings, run):
        self.kind, self.path, self._run = kind, Path(path), run
        self.image_size, self.image_resize = settings.image_size, settings.image_resize
        self.max_tokens, self.vocabulary = settings.max_tokens, list(settings.vocabulary)
        self.threshold, self.presence, self.precision = settings.threshold, settings.presence, settings.precision

    def __call__(self, batch, device=0):
        """Probabilities of one element of an `evaluation_dataset`, see `ModelNetwork`.

        Raises:
            WeightsError: the export cannot be run, for example since its inputs have another size than it says.
        """
        try:
            mask, prior = self._run(batch["image"], batch["token_ids"], batch["image_index"])
        except Exception as error:  # each runtime has exceptions of its own
            raise WeightsError(f"{self.path}: cannot be run: {_line(error)}") from error
        return tf.cast(mask, tf.float32), tf.cast(prior, tf.float32)


def open_export(path):
    """Opens the folder of a SavedModel, an ONNX file, or the folder of several.

    Args:
        path: as `lts export` wrote it, or a copy elsewhere; for ONNX files as for `OnnxNetwork`.

    Returns:
        `ExportedNetwork`.

    Raises:
        WeightsError: nothing is there, it is damaged, or it does not hold what an export of this project does.
        ImportError: an ONNX file, without the extra `onnx`.
    """
    path = Path(path)
    if (path / "saved_model.pb").is_file():
        return _open_saved_model(path)
    if path.is_file() or holds_onnx(path):
        return _open_onnx(path)
    found = "a folder without saved_model.pb" if path.is_dir() else "nothing there"
    raise WeightsError(f"{path}: neither the folder of a SavedModel nor an ONNX file. Received: {found}")


def _open_saved_model(path):
    file = path / SETTINGS_FILE
    settings = _settings(file, lambda: file.read_text(encoding="utf-8"))
    try:
        loaded = tf.saved_model.load(str(path))
    except (OSError, tf.errors.OpError, ValueError, KeyError) as error:
        raise WeightsError(f"{path}: cannot be read as a SavedModel: {_line(error)}") from error
    if _SIGNATURE not in loaded.signatures:
        raise WeightsError(f"{path}: needs the signature {_SIGNATURE}. Received: {sorted(loaded.signatures)}")
    signature = loaded.signatures[_SIGNATURE]

    # What was loaded holds the weights and must live as long as its function.
    def run(image, token_ids, image_index, _loaded=loaded):
        found = signature(image=tf.gather(image, image_index), token_ids=token_ids)
        return found["mask"], found["prior"]

    return ExportedNetwork("saved_model", path, settings, run)


def _open_onnx(path):
    network = OnnxNetwork(path)

    def run(image, token_ids, image_index):
        return network(np.asarray(image), np.asarray(token_ids), np.asarray(image_index))

    # The 8-bit form has results of its own, beside those of the other one.
    kind = "onnx" if network.settings.precision == "float32" else f"onnx_{network.settings.precision}"
    return ExportedNetwork(kind, network.path, network.settings, run)


def _settings(name, read):
    try:
        return ModelSettings.from_json(read())
    except (OSError, KeyError):
        raise WeightsError(f"{name}: missing, so that nothing says how photos and words go in; export again") from None
    except (ValueError, TypeError) as error:
        raise WeightsError(f"{name}: cannot be read: {_line(error)}; export again") from None


def _line(error):
    return " ".join(str(error).split())[:300]
