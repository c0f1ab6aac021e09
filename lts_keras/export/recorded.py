"""Real requests out of a server's log, to warm a new version up with."""

from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError

from lts_keras.config.errors import ConfigError
from lts_keras.prediction.photos import prepare_photo

__all__ = ["MOST_QUESTIONS", "recorded_questions"]

MOST_QUESTIONS = 64
"""So many are taken at most, the first ones: each is run at every start of a server."""
_MOST_RECORDS = 10_000
_PHOTO, _TEXT = "image_bytes", "expression"


def recorded_questions(path, image_size, max_photo_pixels):
    """Photos with expressions from the `PredictionLog`s in a TFRecord file, as the server's request log has them.

    What was asked before need not be answered by this model: a photo that it would refuse is left out, for a server
    does not give a version out whose warm-up fails.

    Args:
        path: path of the file.
        image_size: int, side of the model's square in pixels.
        max_photo_pixels: int, as in `ExportConfig`.

    Returns:
        List of `(image_bytes, expression)`, both bytes, at least one.

    Raises:
        ConfigError: there is no such file, it is damaged, or no question with its photo is in it.
        ImportError: without the extra `serving`.
    """
    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError as error:
        raise ImportError("recorded requests need the extra `serving`: pip install lts-keras[serving]") from error
    if not Path(path).is_file():
        raise ConfigError(f"export.warm_up_requests: {path}: no such file")
    prepare = tf.function(lambda photo: prepare_photo(photo, image_size, max_photo_pixels)[1], autograph=False)
    questions = {}
    try:
        for record in tf.data.TFRecordDataset(str(path)).take(_MOST_RECORDS).as_numpy_iterator():
            request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            for question in _questions(request):
                if question not in questions and _readable(prepare, question[0]):
                    questions[question] = None
            if len(questions) >= MOST_QUESTIONS:
                break
    except (tf.errors.OpError, DecodeError) as error:
        reason = " ".join(str(getattr(error, "message", error)).split())
        raise ConfigError(f"export.warm_up_requests: {path}: no TFRecord file of a request log: {reason}") from None
    if not questions:
        raise ConfigError(
            f"export.warm_up_requests: {path}: no request with a photo that can be read and an expression; a server "
            "keeps photos in its log with --request_log_photos"
        )
    return list(questions)[:MOST_QUESTIONS]


def _questions(request):
    """Pairs of photo and expression of one request: row by row, or all expressions on one photo."""
    photos, texts = (
        list(request.inputs[name].string_val) if name in request.inputs else [] for name in (_PHOTO, _TEXT)
    )
    return list(zip(photos * len(texts) if len(photos) == 1 else photos, texts, strict=False))


def _readable(prepare, photo):
    try:
        prepare(tf.constant(photo))
    except tf.errors.InvalidArgumentError:
        return False
    return True
