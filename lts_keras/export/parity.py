"""The exported graph must answer as the Keras model does, pixel for pixel, on the same bytes."""

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the operators of the tokenizer

from lts_keras.data.input.geometry import restore_probabilities
from lts_keras.export import ExportError

__all__ = ["check_saved_model"]

# The network's sums run in another order at another batch size, which moves a probability by about 1e-6. A pixel
# this near to the threshold may therefore fall on either side.
TIE = 1e-5


def check_saved_model(folder, predictor, samples):
    """Compares a SavedModel with a `Predictor`.

    Args:
        folder: path of the SavedModel.
        predictor: `Predictor` on the model that was exported.
        samples: list of `(image_bytes, expressions)`: bytes and a list of str.

    Returns:
        dict for the record: `photos`, `expressions`, `pixels`, `ties` (pixels that differ within `TIE` of the
        threshold; 0 is usual).

    Raises:
        ExportError: if a mask, box, point or size differs, or a score or presence by more than 1e-4.
    """
    signatures = tf.saved_model.load(str(folder)).signatures
    report = {"photos": 0, "expressions": 0, "pixels": 0, "ties": 0}
    for image_bytes, expressions in samples:
        expected = predictor.answer_many(image_bytes, expressions)
        probabilities = _probabilities(predictor, image_bytes, expressions)
        for name, count in (("segment_expressions", 1), ("serving_default", len(expressions))):
            answers = signatures[name](
                image_bytes=tf.constant([image_bytes] * count), expression=tf.constant(expressions)
            )
            for row, (prediction, probability) in enumerate(zip(expected, probabilities, strict=True)):
                where = f"{folder}: {name} and the Keras model differ on {expressions[row]!r}"
                answer = {key: value[row].numpy() for key, value in answers.items()}
                report["ties"] += _compare(answer, prediction, np.abs(probability - predictor.threshold), where)
                report["pixels"] += prediction.mask.size
        report["photos"] += 1
        report["expressions"] += len(expressions)
    return report


def _probabilities(predictor, image_bytes, expressions):
    """Probabilities at the photo's size, whose distance from the threshold tells ties from errors."""
    masks, _, size = predictor.segment(predictor.read_pixels(image_bytes), tf.constant(expressions))
    height, width = size.numpy()
    shape = height, width, predictor.image_size, predictor.image_resize
    return [restore_probabilities(mask, *shape).numpy()[..., 0] for mask in masks]


def _compare(answer, prediction, distance, where):
    """Returns the number of ties; raises `ExportError` for any other difference."""
    mask = tf.io.decode_png(answer["mask_png_bytes"], channels=1).numpy()[..., 0] > 0
    if mask.shape != prediction.mask.shape or tuple(answer["size"]) != mask.shape:
        raise ExportError(f"{where}: sizes {mask.shape}, {tuple(answer['size'])} and {prediction.mask.shape}")
    differing = mask != prediction.mask
    if np.any(differing & (distance > TIE)):
        raise ExportError(f"{where}: {int(differing.sum())} pixels of the mask")
    if not differing.any() and tuple(answer["box"]) != prediction.box:
        raise ExportError(f"{where}: box {tuple(answer['box'])} instead of {prediction.box}")
    for name in ("score", "presence"):
        if abs(float(answer[name]) - getattr(prediction, name)) > 1e-4:
            raise ExportError(f"{where}: {name} {answer[name]} instead of {getattr(prediction, name)}")
    return int(differing.sum())
