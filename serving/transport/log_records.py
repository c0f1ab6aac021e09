"""`PredictionLog`s of answered requests; photos are left out on wish, and what is known of them stays."""

import hashlib
import io
import math
import struct
import time

import numpy as np
from PIL import JpegImagePlugin, PngImagePlugin

from serving.wire.protos import PredictionLog
from serving.wire.tensors import from_array

__all__ = ["make_record"]

MOST_VALUES = 4096
"""Numbers of more values than these are pixels or features, and count as a photo."""

_LOGS = {
    "Predict": "predict_log",
    "Classify": "classify_log",
    "Regress": "regress_log",
    "MultiInference": "multi_inference_log",
}
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


def make_record(event, photos, sampling_rate):
    """Writes one request down.

    Args:
        event: `RequestEnded` with a request, and a response where there is one.
        photos: bool. Whether photos are kept. If not, an input `NAME` with photos is replaced by `NAME/bytes` (int64,
            lengths), `NAME/size` (int32, stored height and width, zeros where they cannot be told), `NAME/sha256`.
        sampling_rate: float, as it stands in the record.

    Returns:
        `PredictionLog`; `None` for a method that is not logged.
    """
    if event.method not in _LOGS:
        return None
    log = PredictionLog()
    part = getattr(log, _LOGS[event.method])
    part.request.CopyFrom(event.request)
    if event.response is not None:
        part.response.CopyFrom(event.response)
    metadata = log.log_metadata
    metadata.timestamp_secs = int(time.time())
    metadata.sampling_config.sampling_rate = sampling_rate
    metadata.saved_model_tags.append("serve")
    metadata.model_spec.name = event.model
    metadata.model_spec.signature_name = event.signature
    if event.version is not None:
        metadata.model_spec.version.value = event.version
    if not photos:
        if event.method == "Predict":
            _strip_tensors(part.request.inputs)
        else:
            _strip_examples(part.request.input)
    return log


def _strip_tensors(inputs):
    for name in list(inputs):
        proto = inputs[name]
        shape = [dimension.size for dimension in proto.tensor_shape.dim]
        if any(_is_photo(value) for value in proto.string_val) or (name == "image_bytes" and proto.string_val):
            values = list(proto.string_val)
            shape = shape if math.prod(shape) == len(values) else [len(values)]
        elif not proto.string_val and math.prod(shape) > MOST_VALUES:
            values, shape = [proto.SerializeToString(deterministic=True)], [1]
        else:
            continue
        del inputs[name]
        for key, array in _statistics(values).items():
            inputs[f"{name}/{key}"].CopyFrom(from_array(array.reshape(*shape, *array.shape[1:])))


def _strip_examples(given):
    kind = given.WhichOneof("kind")
    if kind is None:
        return
    examples = getattr(given, kind)
    for example in [*examples.examples, *([examples.context] if kind.endswith("context") else [])]:
        features = example.features.feature
        for name in list(features):
            values = list(features[name].bytes_list.value)
            if not any(_is_photo(value) for value in values):
                continue
            del features[name]
            found = _statistics(values)
            features[f"{name}/bytes"].int64_list.value.extend(found["bytes"].tolist())
            features[f"{name}/size"].int64_list.value.extend(found["size"].ravel().tolist())
            features[f"{name}/sha256"].bytes_list.value.extend(found["sha256"].tolist())


def _is_photo(value):
    return value.startswith(_MAGIC)


def _statistics(values):
    return {
        "bytes": np.array([len(value) for value in values], np.int64),
        "size": np.array([_stored_size(value) for value in values], np.int32),
        "sha256": np.array([hashlib.sha256(value).hexdigest().encode() for value in values], object),
    }


def _stored_size(content):
    """Height and width in a photo's header; zeros where they cannot be told."""
    # The readers themselves: `Image.open` warns of large photos, and nothing is decoded here.
    kind = PngImagePlugin.PngImageFile if content.startswith(_MAGIC[1]) else JpegImagePlugin.JpegImageFile
    try:
        width, height = kind(io.BytesIO(content)).size
    except (OSError, ValueError, SyntaxError, KeyError, struct.error):
        return 0, 0
    return height, width
