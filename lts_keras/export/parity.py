"""The exported graph must answer as the Keras model does, field by field, on the same bytes."""

import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the operators of the tokenizer

from lts_keras.export import ExportError
from lts_keras.prediction.compare import TOLERANCES
from lts_keras.prediction.signatures import compare_signatures

__all__ = ["check_saved_model"]

_SHOWN = 3


def check_saved_model(folder, predictor, samples, precision="float32"):
    """Compares a SavedModel with a `Predictor`.

    Args:
        folder: path of the SavedModel.
        predictor: `Predictor` on the model that was exported.
        samples: list of `(image_bytes, expressions)`: bytes and a list of str.
        precision: str, the export's, see `TOLERANCES`.

    Returns:
        dict for the record, as `compare_signatures` reports.

    Raises:
        ExportError: if an answer differs by more than the tolerance.
    """
    signatures = tf.saved_model.load(str(folder)).signatures

    def ask(name, inputs):
        found = signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
        return {key: value.numpy() for key, value in found.items()}

    report, differences = compare_signatures(ask, predictor, samples, TOLERANCES[precision])
    if differences:
        more = f" and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        raise ExportError(f"{folder}: not as the Keras model: {'; '.join(differences[:_SHOWN])}{more}")
    return report
