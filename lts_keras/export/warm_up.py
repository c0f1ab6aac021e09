"""Warm-up requests beside the SavedModel: a server runs them before it gives a version out.

The first run of each batch size costs many times a later one, and would otherwise be a user's request.
"""

import itertools
from pathlib import Path

import numpy as np
import tensorflow as tf

__all__ = ["WARM_UP_FILE", "drawn_photo", "write_warm_up"]

WARM_UP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"


def write_warm_up(folder, model, features, batch_sizes, questions=()):
    """Writes `PredictionLog` records: every signature, and every allowed batch size of both halves of the network.

    The halves run behind the same two queues whatever the signature, so that the sizes of those whose inputs are large
    need no records: these would take a third of the space of the weights.

    Args:
        folder: path of the SavedModel.
        model: `LTS`, for `image_size` and `max_tokens`.
        features: dict from the features' names to `tf.TensorSpec`, what `segment_encoded` takes.
        batch_sizes: sequence of int.
        questions: list of `(image_bytes, expression)`, bytes, to take instead of a drawn photo; they are repeated where
            there are too few.

    Returns:
        Path of the file.

    Raises:
        ImportError: without the extra `serving`.
    """
    path, size = Path(folder) / WARM_UP_FILE, model.image_size
    path.parent.mkdir(parents=True, exist_ok=True)
    endless = itertools.cycle(questions or [(drawn_photo(3 * size // 4, size), b"the left one")])
    requests = []
    for rows in batch_sizes:
        photos, expressions = (
            np.array(values, object) for values in zip(*itertools.islice(endless, rows), strict=True)
        )
        requests.append(("serving_default", {"image_bytes": photos, "expression": expressions}))
        requests.append(("segment_expressions", {"image_bytes": photos[:1], "expression": expressions}))
        requests.append(("encode_photo", {"image_bytes": photos}))
    requests.append(("locate_and_segment", {"image_bytes": photos[:1], "expression": expressions[:1]}))
    image, token_ids = np.full((1, size, size, 3), 0.5, np.float32), np.ones((1, model.max_tokens), np.int32)
    requests.append(("segment_tensors", {"image": image, "token_ids": token_ids}))
    encoded = {name: np.zeros((1, *spec.shape[1:]), np.float32) for name, spec in features.items()}
    encoded |= {"size": np.array([[3 * size // 4, size]], np.int32), "expression": expressions[:1]}
    requests.append(("segment_encoded", encoded))
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests:
            writer.write(_record(signature, inputs))
    return path


def drawn_photo(height, width):
    """Returns the bytes of a JPEG picture of this size with smooth colours; the same bytes each time."""
    rows, columns = np.mgrid[0:height, 0:width]
    colors = np.stack([rows / height, columns / width, (rows + columns) / (height + width)], axis=-1)
    return tf.io.encode_jpeg((255 * colors).astype(np.uint8), quality=90).numpy()


def _record(signature, inputs):
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError as error:
        raise ImportError("warm-up requests need the extra `serving`: pip install lts-keras[serving]") from error
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "lts"
    request.model_spec.signature_name = signature
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    return log.SerializeToString(deterministic=True)
