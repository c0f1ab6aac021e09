"""Arrays from JSON, in the two forms of TensorFlow Serving: rows (`instances`) and columns (`inputs`)."""

import itertools

import numpy as np

from serving.errors import RequestError, invalid_argument
from serving.wire.dtypes import BFLOAT16, DTYPES, HALF, STRING, dtype_name
from serving.wire.json_text import decode_base64, encode_text, holds_base64, show, type_word, unimplemented

__all__ = ["read_array", "read_inputs", "rows_of"]

_FLOATS = (1, 2, BFLOAT16, HALF)
_INFINITE_BFLOAT16 = 2.0**128 - 2.0**119  # what is nearer to infinity than to the largest number
_MOST_DIMENSIONS = 64  # numpy's own


def rows_of(document):
    """How many rows a request says that it has, an int; 0 for one in columns."""
    rows = document.get("instances")
    return len(rows) if isinstance(rows, list) else 0


def read_inputs(document, specs):
    """Reads the inputs of a predict request.

    Args:
        document: dict, the parsed JSON with `instances` (a list of rows) or `inputs` (an object of columns, or the one
            column).
        specs: dict from the name of an input to what has its `dtype`, a `DataType` number.

    Returns:
        `(dict of arrays by name, bool)`; the flag says whether the request came in rows.

    Raises:
        RequestError: `INVALID_ARGUMENT`, in TensorFlow Serving's words; `UNIMPLEMENTED` for a dtype that JSON has not.
    """
    if not specs:
        name = document.get("signature_name") or "DEFAULT"
        raise invalid_argument(f"Failed to get input map for signature: {name}")
    if "instances" in document and "inputs" in document:
        words = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
        raise invalid_argument(f"JSON Value: {show(document)} {words}")
    if "inputs" in document:
        return _read_columns(document["inputs"], specs), False
    if "instances" not in document:
        raise invalid_argument("Missing 'inputs' or 'instances' key")
    rows = document["instances"]
    if not isinstance(rows, list):
        raise invalid_argument(f"JSON Value: {show(document)} Excepting 'instances' to be an list/array")
    if not rows:
        raise invalid_argument(f"JSON Value: {show(document)} No values in 'instances' array")
    return _read_rows(rows, specs), True


def read_array(value, dtype):
    """Reads one tensor.

    Args:
        value: nested lists of what the dtype takes: numbers for floats, whole numbers within the range of a dtype of
            integers, true and false, or strings and `{"b64": "..."}`.
        dtype: int, `DataType`.

    Returns:
        Array of `DTYPES[dtype]`.

    Raises:
        RequestError: as `read_inputs`.
    """
    shape = _shape_of(value)
    values = _flatten(value, shape)
    kinds = set(map(type, values))
    if dtype not in DTYPES:
        raise unimplemented(f"Conversion of JSON Value: {show(value)} to type: {dtype_name(dtype)}")
    if dtype == STRING:
        flat = np.empty(len(values), object)
        flat[:] = [_read_string(item) for item in values]
    elif dtype in _FLOATS:
        flat = _read_floats(values, kinds, dtype)
    elif dtype == 10:
        _check_kinds(values, kinds, {bool}, dtype)
        flat = np.array(values, bool)
    else:
        flat = _read_integers(values, kinds, dtype)
    return flat.reshape(shape)


def _read_columns(columns, specs):
    if not isinstance(columns, dict) or holds_base64(columns):
        if len(specs) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        return {name: read_array(columns, spec.dtype) for name, spec in specs.items()}
    for name in sorted(specs):
        if name not in columns:
            raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
    return {name: read_array(columns[name], spec.dtype) for name, spec in specs.items()}


def _read_rows(rows, specs):
    named = _is_named(rows[0])
    if not named and len(specs) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    for number, row in enumerate(rows):
        if _is_named(row) != named:
            words = "object but got list" if named else "value/list but got object"
            raise invalid_argument(f"Expecting {words} at item {number} of input list")
    if not named:
        return {name: _read_column(rows, name, spec.dtype) for name, spec in specs.items()}
    for number, row in enumerate(rows):
        if row.keys() != specs.keys():
            _refuse_names(row, number, specs)
    return {name: _read_column([row[name] for row in rows], name, spec.dtype) for name, spec in specs.items()}


def _refuse_names(row, number, specs):
    for name in row:
        if name not in specs:
            words = f"JSON object: does not have named input: {show(name)[1:-1]}"
            raise _in_element(number, show(name)[1:-1], words)
    raise invalid_argument(
        f"Failed to process element: {number} of 'instances' list. JSON object: {show(row)} keys must be equal to: "
        f"{','.join(sorted(specs))}"
    )


def _read_column(values, name, dtype):
    """All rows of one input at once; only if that fails they are looked at one by one, for the message."""
    try:
        return read_array(values, dtype)
    except RequestError as error:
        first = None
        for number, value in enumerate(values):
            try:
                shape = read_array(value, dtype).shape
            except RequestError as wrong:
                raise _in_element(number, name, f"{wrong.code.name}: {wrong.message}") from None
            first = shape if first is None else first
            if shape != first:
                sizes = int(np.prod(first)), int(np.prod(shape))
                if sizes[0] != sizes[1]:
                    words = f"Expecting tensor size: {sizes[0]} but got: {sizes[1]}"
                else:
                    words = f"Expecting shape {_brackets(first)} but got: {_brackets(shape)}"
                raise _in_element(number, name, f"INVALID_ARGUMENT: {words}") from None
        raise error


def _in_element(number, name, words):
    if not words.startswith(("INVALID_ARGUMENT", "UNIMPLEMENTED")):
        words = f"INVALID_ARGUMENT: {words}"
    message = f"Failed to process element: {number} key: {name} of 'instances' list. Error: {words}"
    return invalid_argument(message)


def _shape_of(value):
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if len(shape) > _MOST_DIMENSIONS:
            raise invalid_argument(f"lists are nested deeper than {_MOST_DIMENSIONS} dimensions")
        value = value[0] if value else None
    return tuple(shape)


def _flatten(value, shape):
    """The values of nested lists in one list, level by level, without a step of Python for each value."""
    values = [value]
    for level, size in enumerate(shape):
        if set(map(type, values)) - {list}:
            wrong = next(item for item in values if type(item) is not list)
            raise invalid_argument(
                f"JSON Value: {show(wrong)} found at incorrect level: {level + 1} in the JSON DOM. Expected at level: "
                f"{len(shape)}"
            )
        if set(map(len, values)) - {size}:
            wrong = next(len(item) for item in values if len(item) != size)
            words = f"Encountered list at unexpected size: {wrong} at level: {level} expected size: {size}"
            raise invalid_argument(words)
        values = list(itertools.chain.from_iterable(values))
    if list in set(map(type, values)):
        words = f"Encountered list at unexpected level: {len(shape)} expected < {len(shape)}"
        raise invalid_argument(words)
    return values


def _read_floats(values, kinds, dtype):
    _check_kinds(values, kinds, {int, float}, dtype)
    target = DTYPES[dtype]
    if int in kinds:
        exact = 2 ** (np.finfo(target).nmant + 1) - 1
        for value in values if float in kinds else (min(values), max(values)):
            # A whole number of more than 64 bits is a float for TensorFlow Serving.
            if type(value) is int and abs(value) > exact and -(2**63) <= value < 2**64:
                raise _lossy(value, dtype)
    try:
        numbers = np.array(values, np.float64)
    except OverflowError:
        raise invalid_argument("JSON Parse error: Number too big to be stored in double.") from None
    with np.errstate(over="ignore"):
        floats = numbers.astype(target)
    too_large = np.isinf(floats) | (np.abs(floats) >= _INFINITE_BFLOAT16) if dtype == BFLOAT16 else np.isinf(floats)
    too_large &= np.isfinite(numbers)
    if too_large.any():
        raise _lossy(values[int(too_large.argmax())], dtype)
    return floats


def _read_integers(values, kinds, dtype):
    _check_kinds(values, kinds, {int}, dtype)
    if values:
        limits = np.iinfo(DTYPES[dtype])
        for value in (min(values), max(values)):
            if not limits.min <= value <= limits.max:
                raise _wrong_type(value, dtype)
    return np.array(values, DTYPES[dtype])


def _read_string(value):
    if isinstance(value, str):
        return encode_text(value)
    if holds_base64(value):
        return decode_base64(value["b64"])
    if isinstance(value, dict):
        raise invalid_argument(f"JSON Value: {show(value)} not formatted correctly for base64 data")
    raise _wrong_type(value, STRING)


def _check_kinds(values, kinds, allowed, dtype):
    if kinds - allowed:
        raise _wrong_type(next(value for value in values if type(value) not in allowed), dtype)


def _wrong_type(value, dtype):
    return invalid_argument(
        f"JSON Value: {show(value)} Type: {type_word(value)} is not of expected type: {dtype_name(dtype)}"
    )


def _lossy(value, dtype):
    words = f"Cannot convert JSON value: {show(value)} to {dtype_name(dtype)} without loss of precision."
    return invalid_argument(words)


def _is_named(value):
    return isinstance(value, dict) and not holds_base64(value)


def _brackets(shape):
    return "[" + ",".join(map(str, shape)) + "]"
