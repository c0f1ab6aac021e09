"""Prediction on a raw photo and a string, in this process."""

import numpy as np
import tensorflow as tf

from lts_keras.config.defaults import BATCH_SIZES, MAX_PHOTO_PIXELS
from lts_keras.data.input.geometry import decode_image, restore_probabilities
from lts_keras.data.schema import DataError
from lts_keras.data.text import Tokenizer
from lts_keras.prediction.answer import restore_answer
from lts_keras.prediction.network import float32_twin, half_functions, segment_many
from lts_keras.prediction.photos import check_photo, letterbox_photo
from lts_keras.prediction.prediction import Prediction
from lts_keras.prediction.question import check_expressions, check_pixels, read_photo

__all__ = ["Prediction", "Predictor"]


class Predictor:
    """Answers expressions on photos with an `LTS` model; the steps are those of the served graph, so are the masks.

    Args:
        model: `LTS` with a vocabulary; one of mixed precision answers in float32.
        step: int. So many expressions go through the network at a time, which bounds the memory. Defaults to `8`.
        max_photo_pixels: int. Larger photos are refused. Defaults to 50 million.

    Call arguments:
        photo: path of a JPEG or PNG file, its bytes, or a uint8 array `(height, width, 3)`, which is not turned.
        expression: str.

    Returns:
        `Prediction`.

    Raises:
        DataError: for an empty expression, or a photo that is missing, damaged or too large.
    """

    def __init__(self, model, step=BATCH_SIZES[-1], max_photo_pixels=MAX_PHOTO_PIXELS):
        if model.vocabulary is None:
            raise ValueError("the model has no vocabulary, so it cannot read expressions; give LTS(vocabulary=...)")
        self._step, self._max_photo_pixels = step, max_photo_pixels
        self.image_size = model.image_size
        self.image_resize = getattr(model, "image_resize", "letterbox")
        self.threshold = model.threshold
        self.presence = model.presence
        self.tokenizer = Tokenizer(model.vocabulary, model.max_tokens)
        encode, segment = half_functions(float32_twin(model))
        self._decode = tf.function(self._decode_graph, autograph=False, input_signature=[tf.TensorSpec((), tf.string)])
        self.segment = tf.function(
            lambda photo, expressions: self._segment_graph(photo, expressions, encode, segment),
            autograph=False,
            input_signature=[tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec((None,), tf.string)],
        )
        self._restore = tf.function(
            self._restore_graph,
            autograph=False,
            input_signature=[
                tf.TensorSpec((self.image_size // 4, self.image_size // 4, 1)),
                tf.TensorSpec((self.image_size // 8, self.image_size // 8, 1)),
                tf.TensorSpec((2,), tf.int32),
            ],
        )

    def __call__(self, photo, expression):
        """The answer to one expression, see the class."""
        return self.predict_many(photo, [expression])[0]

    def predict_many(self, photo, expressions):
        """Answers several expressions on one photo, which is encoded once.

        Args:
            photo: as for a call.
            expressions: list of str, at least one.

        Returns:
            List of `Prediction`, in the order of the expressions.
        """
        return self.answer_many(photo, check_expressions(expressions))

    def answer_many(self, photo, expressions):
        """As `predict_many`, whatever the expressions: the served graph answers one without a word too."""
        pixels = self.read_pixels(photo)
        masks, priors, size = self.segment(pixels, tf.constant(expressions))
        return [self._prediction(mask, prior, size) for mask, prior in zip(masks, priors, strict=True)]

    def read_pixels(self, photo):
        """Returns a photo, given as for a call, as a uint8 tensor `(height, width, 3)`, upright; raises `DataError`."""
        if isinstance(photo, np.ndarray):
            check_pixels(photo)
            return tf.constant(photo)
        name, content = read_photo(photo)
        try:
            return self._decode(tf.constant(content))
        except tf.errors.InvalidArgumentError as error:
            lines = [line.strip() for line in error.message.splitlines()]
            reason = next((line for line in lines if line.startswith("assertion failed")), "damaged or cut short")
            raise DataError(f"{name}: no photo that can be read: {reason}") from None

    def _decode_graph(self, image_bytes):
        return decode_image(check_photo(image_bytes, self._max_photo_pixels))

    def _segment_graph(self, photo, expressions, encode, segment):
        image, size = letterbox_photo(photo, self.image_size, self.image_resize)
        mask, prior = segment_many(encode, segment, image[None], self.tokenizer(expressions), self._step)
        return mask, prior, size

    def _restore_graph(self, mask, prior, size):
        height, width = size[0], size[1]
        whole = restore_probabilities(prior, height, width, self.image_size, self.image_resize)[..., 0]
        shape = height, width, self.image_size
        found = restore_answer(mask, prior, *shape, self.threshold, self.image_resize, self.presence)
        del found["probabilities"], found["highest"]
        return found | {"prior": whole}

    def _prediction(self, mask, prior, size):
        found = {name: value.numpy() for name, value in self._restore(mask, prior, size).items()}
        return Prediction(
            mask=found["mask"],
            score=float(found["score"]),
            presence=float(found["presence"]),
            box=tuple(found["box"].tolist()),
            point=tuple(found["point"].tolist()),
            prior=found["prior"],
        )
