"""JSON in and out, in the two forms of TensorFlow Serving: rows (`instances`) and columns (`inputs`)."""

import base64
import binascii

import numpy as np
import tensorflow as tf

from serving.errors import invalid_argument

__all__ = ["columns_of", "to_json", "to_proto"]


def columns_of(body, names):
    """The inputs that a request's JSON holds, by name.

    Args:
        body: what the JSON said, with `instances` (a list of rows) or `inputs` (a dict of columns, or the one column).
        names: names of the signature's inputs.

    Returns:
        `(dict from name to nested lists, bool)`; the flag says whether the request came in rows.

    Raises:
        RequestError: `INVALID_ARGUMENT`.
    """
    if not isinstance(body, dict) or ("instances" in body) == ("inputs" in body):
        raise invalid_argument("the body must be a JSON object with either instances or inputs")
    if "inputs" in body:
        inputs = body["inputs"]
        return (inputs if _is_named(inputs) else {name: inputs for name in names[:1]}), False
    rows = body["instances"]
    if not isinstance(rows, list) or not rows:
        raise invalid_argument("instances must be a list of at least one row")
    if not all(_is_named(row) for row in rows):
        if len(names) != 1:
            raise invalid_argument(f"each instance must be an object with {', '.join(names)}")
        return {names[0]: rows}, True
    if len({frozenset(row) for row in rows}) != 1:
        raise invalid_argument("all instances must have the same inputs")
    return {name: [row[name] for row in rows] for name in rows[0]}, True


def to_proto(name, value, spec):
    """Nested lists to a `TensorProto` of the signature's dtype; bytes come as `{"b64": "..."}`."""
    try:
        if spec.dtype == tf.string:
            array = np.array(_strings(value), dtype=object)
        else:
            array = np.array(value).astype(spec.dtype.as_numpy_dtype, casting="same_kind" if value else "unsafe")
        return tf.make_tensor_proto(array, dtype=spec.dtype)
    except (TypeError, ValueError, OverflowError, binascii.Error) as error:
        raise invalid_argument(f'input "{name}" is no {spec.dtype.name} tensor: {error}') from None


def to_json(outputs, in_rows):
    """Answers a request in its own form.

    Args:
        outputs: dict from name to `TensorProto`.
        in_rows: bool, from `columns_of`.

    Returns:
        dict with `predictions` (rows) or `outputs` (columns); a single output stands without its name. Outputs whose
        name ends in `_bytes` are base64.
    """
    columns = {name: _values(name, tf.make_ndarray(proto)) for name, proto in sorted(outputs.items())}
    single = next(iter(columns)) if len(columns) == 1 else None
    if not in_rows:
        return {"outputs": columns[single] if single else columns}
    if single:
        return {"predictions": columns[single]}
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]}


def _is_named(value):
    return isinstance(value, dict) and "b64" not in value


def _strings(value):
    if isinstance(value, list):
        return [_strings(item) for item in value]
    if isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str):
        return base64.b64decode(value["b64"], validate=True)
    if isinstance(value, str):
        return value.encode("utf-8")
    raise TypeError(f'expected a string or {{"b64": ...}}. Received: {type(value).__name__}')


def _values(name, array):
    if array.dtype != object:
        return array.tolist()

    def text(value):
        if isinstance(value, list):
            return [text(item) for item in value]
        return (
            {"b64": base64.b64encode(value).decode()} if name.endswith("_bytes") else value.decode("utf-8", "replace")
        )

    return text(array.tolist())
