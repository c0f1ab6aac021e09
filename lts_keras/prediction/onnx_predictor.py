"""Prediction with ONNX files: numpy, Pillow and onnxruntime, no TensorFlow."""

import numpy as np

from lts_keras.config.defaults import BATCH_SIZES, MAX_PHOTO_PIXELS
from lts_keras.data.plain_photo import decode_photo
from lts_keras.data.plain_text import PlainTokenizer
from lts_keras.prediction.onnx_network import OnnxNetwork
from lts_keras.prediction.plain_maps import letterbox, restore
from lts_keras.prediction.prediction import Prediction
from lts_keras.prediction.question import check_expressions, check_pixels, read_photo
from lts_keras.weights import WeightsError

__all__ = ["OnnxPredictor"]


class OnnxPredictor:
    """Answers expressions on photos as `Predictor` does, with the ONNX files of an export.

    Decoders and sums differ by rounding, so that a pixel right at the threshold may fall on the other side.

    Args:
        path: as for `OnnxNetwork`.
        step: int. So many expressions go through the network at a time, which bounds the memory. Defaults to `8`.
        max_photo_pixels: int. Larger photos are refused. Defaults to 50 million.

    Call arguments:
        photo: path of a JPEG or PNG file, its bytes, or a uint8 array `(height, width, 3)`, which is not turned.
        expression: str.

    Returns:
        `Prediction`.

    Raises:
        WeightsError, ImportError: as for `OnnxNetwork`.
        DataError: for an empty expression, or a photo that is missing, damaged or too large.
    """

    def __init__(self, path, step=BATCH_SIZES[-1], max_photo_pixels=MAX_PHOTO_PIXELS):
        self.network = OnnxNetwork(path)
        self.settings = self.network.settings
        self._step, self._max_photo_pixels = step, max_photo_pixels
        self._tokenizer = PlainTokenizer(self.settings.vocabulary, self.settings.max_tokens)

    def __call__(self, photo, expression):
        """The answer to one expression, see the class."""
        return self.predict_many(photo, [expression])[0]

    def predict_many(self, photo, expressions):
        """Answers several expressions on one photo, which the halves of a network encode once.

        Args:
            photo: as for a call.
            expressions: list of str, at least one.

        Returns:
            List of `Prediction`, in the order of the expressions.
        """
        token_ids = self._tokenizer(check_expressions(expressions))
        pixels = self._read_pixels(photo)
        height, width, _ = pixels.shape
        image = letterbox(pixels, self.settings.image_size, self.settings.image_resize)
        try:
            masks, priors = self.network.segment_many(image, token_ids, self._step)
        except Exception as error:  # the runtime has an exception of its own for each cause
            raise WeightsError(f"{self.network.path}: cannot be run: {' '.join(str(error).split())[:300]}") from error
        return [
            Prediction(**restore(mask[..., 0], prior[..., 0], height, width, self.settings))
            for mask, prior in zip(masks, priors, strict=True)
        ]

    def _read_pixels(self, photo):
        if not isinstance(photo, np.ndarray):
            return decode_photo(*read_photo(photo), self._max_photo_pixels)
        check_pixels(photo)
        return photo
