"""`python -m serving predict`: one photo, some expressions, one overlay picture."""

import grpc

from lts_keras.data.schema import DataError
from lts_keras.evaluation.pictures import write_overlay
from lts_keras.prediction.question import check_expressions, read_photo, view_photo
from lts_keras.utils.quiet import import_tensorflow

__all__ = ["predict"]


def predict(target, image, expressions, output, model_name="lts", timeout=60.0):
    """Asks a server and writes the answers over the photo.

    Args:
        target: str, `host:port`.
        image: path of a JPEG or PNG file.
        expressions: list of str.
        output: path of the PNG file to write.
        model_name: str.
        timeout: float, seconds.

    Returns:
        List of `Answer`.

    Raises:
        DataError: for an empty expression, or a photo that is missing, damaged or refused by the server.
        ServingError: if the server cannot be reached or fails.
    """
    expressions, photo = check_expressions(expressions), view_photo(image)
    import_tensorflow()
    from serving.client import Client, ServingError

    with Client(target, model_name, timeout=timeout) as client:
        try:
            answers = client.segment(read_photo(image)[1], expressions)
        except ServingError as error:
            if error.code == grpc.StatusCode.INVALID_ARGUMENT:
                raise DataError(f"{image}: refused by the server: {error}") from None
            raise
    write_overlay(output, photo, expressions, answers)
    print(f"answered by {model_name} version {answers[0].version} at {target}")
    return answers
