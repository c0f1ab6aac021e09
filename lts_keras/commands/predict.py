"""`lts predict`: expressions on one photo, answered by a preset."""

from lts_keras.evaluation.pictures import write_overlay
from lts_keras.models.lts import LTS
from lts_keras.prediction.question import check_expressions, read_photo, view_photo

__all__ = ["predict_to_file"]


def predict_to_file(preset, image, expressions, output):
    """Answers expressions on one photo, prints a line for each and writes them as one overlay picture.

    Args:
        preset: folder of the trained model.
        image: path of the photo.
        expressions: list of str.
        output: path of the PNG file.

    Returns:
        List of `Prediction`.
    """
    expressions, photo = check_expressions(expressions), view_photo(image)
    predictions = LTS.from_preset(preset).predictor().predict_many(read_photo(image)[1], expressions)
    write_overlay(output, photo, expressions, predictions)
    return predictions
