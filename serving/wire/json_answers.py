"""Answers as JSON text: arrays in rows or columns, classes and scores, numbers, and messages."""

import base64
import json

import numpy as np
from google.protobuf import json_format

from serving.errors import invalid_argument
from serving.wire.dtypes import dtype_name, dtype_number
from serving.wire.protos import SignatureDefMap

__all__ = [
    "classifications_text",
    "error_text",
    "metadata_text",
    "outputs_text",
    "regressions_text",
    "status_text",
]

_NOT_FINITE = {b"nan": b"NaN", b"inf": b"Infinity", b"-inf": b"-Infinity"}
_BYTES_SUFFIX = "_bytes"


def outputs_text(outputs, in_rows):
    """Answers a predict request in its own form.

    Args:
        outputs: dict of arrays by name; strings are objects of `bytes`.
        in_rows: bool, from `read_inputs`.

    Returns:
        bytes, JSON with `predictions` (rows) or `outputs` (columns); a single output stands without its name. Floats
        are the shortest that read back as the same float of their dtype; strings of outputs whose name ends in
        `_bytes` are base64, and others have U+FFFD for what is no UTF-8.

    Raises:
        RequestError: `INVALID_ARGUMENT`, in TensorFlow Serving's words, where rows are asked for and the outputs have
            none or not the same number, or for a dtype that JSON has not.
    """
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    if in_rows:
        return _join(b'{"predictions": ', _rows_text(outputs), b"}")
    columns = {name: _array_text(name, array) for name, array in outputs.items()}
    return _join(b'{"outputs": ', _named(columns), b"}")


def classifications_text(result):
    """JSON of a `ClassificationResult`: for each example a list of pairs of a label and its score."""
    if not result.classifications:
        raise invalid_argument("Cannot convert empty ClassificationResults to JSON")
    rows = []
    for classifications in result.classifications:
        scores = _floats(np.array([item.score for item in classifications.classes], np.float32))
        labels = (_string(item.label) for item in classifications.classes)
        rows.append(_list(_list(pair) for pair in zip(labels, scores, strict=True)))
    return _join(b'{"results": ', _list(rows), b"}")


def regressions_text(result):
    """JSON of a `RegressionResult`: a number for each example."""
    if not result.regressions:
        raise invalid_argument("Cannot convert empty RegressionResults to JSON")
    values = np.array([item.value for item in result.regressions], np.float32)
    return _join(b'{"results": ', _list(_floats(values)), b"}")


def status_text(response):
    """JSON of a `GetModelStatusResponse`."""
    return _message_text(response)


def metadata_text(response):
    """JSON of a `GetModelMetadataResponse`; the signatures stand open in it, as TensorFlow Serving has them."""
    signatures = SignatureDefMap.FromString(response.metadata["signature_def"].value)
    spec, signatures = _message_text(response.model_spec), _message_text(signatures)
    return _join(b'{"model_spec": ', spec, b', "metadata": {"signature_def": ', signatures, b"}}")


def error_text(message):
    """JSON of an error."""
    return json.dumps({"error": message}, ensure_ascii=False).encode("utf-8", "replace")


def _message_text(message):
    text = json_format.MessageToJson(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        indent=1,
        ensure_ascii=False,
    )
    return text.encode("utf-8")


def _rows_text(outputs):
    size = None
    for name, array in outputs.items():
        if not array.ndim:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if size not in (None, len(array)):
            message = f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {size}"
            raise invalid_argument(message)
        size = len(array)
    rows = {name: _row_texts(name, array) for name, array in outputs.items()}
    return _list(_named(dict(zip(rows, row, strict=True))) for row in zip(*rows.values(), strict=True))


def _named(texts):
    """The one text, or an object of all of them by name."""
    if len(texts) == 1:
        return next(iter(texts.values()))
    return b"{" + b", ".join(_string(name) + b": " + text for name, text in texts.items()) + b"}"


def _row_texts(name, array):
    if array.ndim == 1:
        return _values(name, array)
    return [_array_text(name, row) for row in array]


def _array_text(name, array):
    if not array.size:
        return json.dumps(np.empty(array.shape).tolist()).encode()
    if array.ndim > 1 and array.size > 2**16:  # row by row: the texts of all values at once would take much
        return _list(_array_text(name, row) for row in array)
    texts = _values(name, array.reshape(-1))
    for size in reversed(array.shape):
        texts = [_list(texts[start : start + size]) for start in range(0, len(texts), size)]
    return texts[0]


def _values(name, array):
    """The text of each value of an array of one dimension."""
    if array.dtype == object:
        if name.endswith(_BYTES_SUFFIX):
            return [b'{"b64": "' + base64.b64encode(value) + b'"}' for value in array.tolist()]
        return [_string(value.decode("utf-8", "replace")) for value in array.tolist()]
    if array.dtype.name in ("bfloat16", "float16"):
        array = array.astype(np.float32)
    if array.dtype == bool:
        return [b"true" if value else b"false" for value in array.tolist()]
    if array.dtype.kind in "iu":
        return [b"%d" % value for value in array.tolist()]
    if array.dtype.kind != "f":
        message = f"Failed to write JSON value for tensor type: {_type_name(array.dtype)}"
        raise invalid_argument(message)
    return _floats(array)


def _floats(array):
    if array.dtype == np.float32:
        texts = array.astype("S16").tolist()
    else:
        texts = [repr(value).encode() for value in array.tolist()]
    if not np.isfinite(array).all():
        texts = [_NOT_FINITE.get(text, text) for text in texts]
    return texts


def _type_name(dtype):
    try:
        return dtype_name(dtype_number(dtype))
    except ValueError:
        return str(dtype)


def _string(text):
    return json.dumps(text, ensure_ascii=False).encode("utf-8", "replace")


def _list(texts):
    return b"[" + b", ".join(texts) + b"]"


def _join(*texts):
    return b"".join(texts)
