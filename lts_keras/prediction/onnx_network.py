"""ONNX files as `lts export` writes them, opened without TensorFlow: the network whole, or in two halves."""

from pathlib import Path

import numpy as np

from lts_keras.prediction.settings import ONNX_KEY, ONNX_WEIGHTS_KEY, ModelSettings
from lts_keras.weights import WeightsError

__all__ = ["ENCODE_FILE", "SEGMENT_FILE", "WHOLE_FILE", "OnnxNetwork", "holds_onnx", "open_session"]

WHOLE_FILE, ENCODE_FILE, SEGMENT_FILE = "model.onnx", "encode.onnx", "segment.onnx"


def holds_onnx(path):
    """Whether a path is a folder with the ONNX files of an export."""
    path = Path(path)
    return (path / WHOLE_FILE).is_file() or (path / ENCODE_FILE).is_file()


class OnnxNetwork:
    """The network in onnxruntime.

    Args:
        path: an ONNX file of the whole network; one of its halves, with the other one beside it (an `encode.int8.onnx`
            goes with `segment.onnx`); or the folder of an export, whose halves are taken where it has them.

    Attributes:
        path: `Path` of the file that reads the photo.
        settings: `ModelSettings`.

    Raises:
        WeightsError: nothing is there, it is damaged, it does not hold what an export of this project does, or the
            halves are those of different models.
        ImportError: without the extra `onnx`.
    """

    def __init__(self, path):
        self.path = _file(Path(path))
        self._whole, self._encode, self._segment = None, None, None
        session = open_session(self.path)
        names = {value.name for value in session.get_inputs()}
        if names == {"image", "token_ids"}:
            self._whole = session
        elif names == {"image"}:
            self._encode, self._segment = session, open_session(_beside(self.path, SEGMENT_FILE))
        elif "token_ids" in names and "feature_0" in names:
            self.path = _beside(self.path, ENCODE_FILE)
            self._encode, self._segment = open_session(self.path), session
        else:
            raise WeightsError(f"{self.path}: no network of this project. Received: inputs {sorted(names)}")
        self.settings = _settings(self.path, self._whole or self._encode)
        if self._segment is not None:
            self._check_halves()

    def _check_halves(self):
        digests = {_properties(one).get(ONNX_WEIGHTS_KEY) for one in (self._encode, self._segment)}
        if len(digests) > 1:
            raise WeightsError(f"{self.path.parent}: {ENCODE_FILE} and {SEGMENT_FILE} are of different exports")

    def __call__(self, images, token_ids, image_index):
        """Answers sentences on images.

        Args:
            images: float32 array `(B, S, S, 3)`.
            token_ids: int32 array `(K, T)`.
            image_index: int array `(K,)`, the image that each sentence belongs to.

        Returns:
            `(mask, prior)`: float32 probabilities `(K, S / 4, S / 4, 1)` and `(K, S / 8, S / 8, 1)`.
        """
        if self._whole is not None:
            return self._whole.run(["mask", "prior"], {"image": images[image_index], "token_ids": token_ids})
        size = self.settings.image_size
        found = [np.empty((len(token_ids), size // stride, size // stride, 1), np.float32) for stride in (4, 8)]
        for number in np.unique(image_index):
            rows = np.nonzero(image_index == number)[0]
            answers = self.segment(self.encode(images[number]), token_ids[rows])
            for array, answer in zip(found, answers, strict=True):
                array[rows] = answer
        return found

    def segment_many(self, image, token_ids, step):
        """Answers K sentences on one image, `step` of them at a time, which bounds the memory.

        Args:
            image: float32 array `(S, S, 3)`.
            token_ids: int32 array `(K, T)`.
            step: int.

        Returns:
            As a call.
        """
        parts = [token_ids[first : first + step] for first in range(0, len(token_ids), step)]
        if self._whole is not None:
            found = [self(image[None], part, np.zeros(len(part), int)) for part in parts]
        else:
            features = self.encode(image)
            found = [self.segment(features, part) for part in parts]
        return [np.concatenate(maps) for maps in zip(*found, strict=True)]

    def encode(self, image):
        """The first half: an image `(S, S, 3)` to a dict of its features. Files of the halves alone have it."""
        names = [value.name for value in self._encode.get_outputs()]
        return dict(zip(names, self._encode.run(names, {"image": image[None]}), strict=True))

    def segment(self, features, token_ids):
        """The second half: features of one image, and token ids `(K, T)`, to `(mask, prior)` of K rows."""
        return self._segment.run(["mask", "prior"], {**features, "token_ids": token_ids})


def _file(path):
    if path.is_file():
        return path
    for name in (ENCODE_FILE, WHOLE_FILE):
        if (path / name).is_file():
            return path / name
    found = "a folder without them" if path.is_dir() else "nothing there"
    raise WeightsError(f"{path}: neither an ONNX file nor a folder with {WHOLE_FILE} or {ENCODE_FILE}. Found: {found}")


def _beside(path, name):
    other = path.parent / name
    if not other.is_file():
        raise WeightsError(f"{path}: one half of a network; the other one, {name}, must lie beside it")
    return other


def open_session(path):
    """Opens an ONNX file in onnxruntime; raises `WeightsError` if it is damaged, `ImportError` without the runtime."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError("an ONNX file needs the extra `onnx`: pip install lts-keras[onnx]") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; the warnings are about the converter's choice of attributes
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has an exception of its own for each cause
        raise WeightsError(f"{path}: cannot be read as ONNX: {_line(error)}") from error


def _properties(session):
    return session.get_modelmeta().custom_metadata_map


def _settings(path, session):
    name = f"{path}: metadata property {ONNX_KEY}"
    try:
        return ModelSettings.from_json(_properties(session)[ONNX_KEY])
    except KeyError:
        raise WeightsError(f"{name}: missing, so that nothing says how photos and words go in; export again") from None
    except (ValueError, TypeError) as error:
        raise WeightsError(f"{name}: cannot be read: {_line(error)}; export again") from None


def _line(error):
    return " ".join(str(error).split())[:300]
