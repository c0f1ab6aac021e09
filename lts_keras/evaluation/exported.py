"""Exports as networks to be judged: the `segment_tensors` of a SavedModel, and an ONNX file."""

from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the operators of the tokenizer, which the graph holds

from lts_keras.prediction.settings import ONNX_KEY, SETTINGS_FILE, ModelSettings
from lts_keras.weights import WeightsError

__all__ = ["ExportedNetwork", "open_export"]

_SIGNATURE = "segment_tensors"


class ExportedNetwork:
    """An export with what judging needs to know, as `ModelNetwork` has it.

    Args:
        kind: `"saved_model"` or `"onnx"`.
        path: of the export, for messages.
        settings: `ModelSettings`.
        run: function of float32 `(N, S, S, 3)` and int32 `(N, T)` tensors that gives `mask` and `prior`.
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
            mask, prior = self._run(tf.gather(batch["image"], batch["image_index"]), batch["token_ids"])
        except Exception as error:  # each runtime has exceptions of its own
            raise WeightsError(f"{self.path}: cannot be run: {_line(error)}") from error
        return tf.cast(mask, tf.float32), tf.cast(prior, tf.float32)


def open_export(path):
    """Opens the folder of a SavedModel or an ONNX file.

    Args:
        path: as `lts export` wrote it, or a copy elsewhere.

    Returns:
        `ExportedNetwork`.

    Raises:
        WeightsError: nothing is there, it is damaged, or it does not hold what an export of this project does.
        ImportError: an ONNX file, without the extra `onnx`.
    """
    path = Path(path)
    if (path / "saved_model.pb").is_file():
        return _open_saved_model(path)
    if path.is_file():
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
    def run(image, token_ids, _loaded=loaded):
        found = signature(image=image, token_ids=token_ids)
        return found["mask"], found["prior"]

    return ExportedNetwork("saved_model", path, settings, run)


def _open_onnx(path):
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError("judging an ONNX file needs the extra `onnx`: pip install lts-keras[onnx]") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; the warnings are about the converter's choice of attributes
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has an exception of its own for each cause
        raise WeightsError(f"{path}: cannot be read as ONNX: {_line(error)}") from error
    properties = session.get_modelmeta().custom_metadata_map
    settings = _settings(f"{path}: metadata property {ONNX_KEY}", lambda: properties[ONNX_KEY])

    def run(image, token_ids):
        inputs = {"image": np.asarray(image), "token_ids": np.asarray(token_ids)}
        return session.run(["mask", "prior"], inputs)

    return ExportedNetwork("onnx", path, settings, run)


def _settings(name, read):
    try:
        return ModelSettings.from_json(read())
    except (OSError, KeyError):
        raise WeightsError(f"{name}: missing, so that nothing says how photos and words go in; export again") from None
    except (ValueError, TypeError) as error:
        raise WeightsError(f"{name}: cannot be read: {_line(error)}; export again") from None


def _line(error):
    return " ".join(str(error).split())[:300]
