"""`TensorProto` in and out of numpy, checked against what a signature expects before any memory is given for it."""

import math

import numpy as np

from serving.errors import invalid_argument
from serving.wire.dtypes import BFLOAT16, DTYPES, HALF, STRING, dtype_name, dtype_number, fits
from serving.wire.protos import TensorProto

__all__ = [
    "DTYPES",
    "LARGEST_MESSAGE_BYTES",
    "LARGEST_SHORT_FORM_BYTES",
    "MOST_STRINGS",
    "dtype_name",
    "dtype_number",
    "fits",
    "from_array",
    "to_array",
]

LARGEST_MESSAGE_BYTES = 256 * 2**20
"""What a client and a server send and take at most in one message."""

LARGEST_SHORT_FORM_BYTES = 2**20
"""Most memory for values that a tensor claims and does not send: the last value of a short list stands for the rest."""

MOST_STRINGS = 2**20
"""Most strings in a tensor: each is an object of some 50 bytes, however short it is."""

_MOST_DIMENSIONS = 64  # numpy's own
_STRING_BYTES = 32  # what even an empty string takes in a tensor

_FIELDS = {
    1: "float_val",
    2: "double_val",
    STRING: "string_val",
    9: "int64_val",
    10: "bool_val",
    BFLOAT16: "half_val",
    HALF: "half_val",
    22: "uint32_val",
    23: "uint64_val",
}


def to_array(name, proto, dtype, shape):
    """Reads one tensor.

    Args:
        name: str, name of the input or output, for messages.
        proto: `TensorProto`, from anywhere.
        dtype: int, the `DataType` that the signature declares.
        shape: tuple of ints and `None`, as the signature declares it; `None` for any.

    Returns:
        numpy array of `DTYPES[dtype]` and a shape that fits; strings are `bytes`. It may be read-only.

    Raises:
        RequestError: `INVALID_ARGUMENT`, naming the tensor, for a wrong dtype or shape, a malformed tensor, or one that
            claims much more than it sends.
    """
    if proto.dtype != dtype:
        received = dtype_name(proto.dtype)
        raise invalid_argument(f'input "{name}" expects {dtype_name(dtype)} but {received} is provided')
    if dtype not in DTYPES:
        raise invalid_argument(f'input "{name}" is of type {dtype_name(dtype)}, which this server does not take')
    found = _read_shape(name, proto)
    if not fits(found, shape):
        raise invalid_argument(f'input "{name}" expects shape {shape} but {found} is provided')
    count = math.prod(found)
    if proto.tensor_content and dtype != STRING:
        values = _read_content(name, proto.tensor_content, dtype, count)
    else:
        values = _read_values(name, proto, dtype, found, count)
    try:
        return values.reshape(found)
    except ValueError:  # an empty tensor whose other sizes are beyond any memory
        raise invalid_argument(f'input "{name}" has no valid shape: {found}') from None


def from_array(array, dtype=None, as_content=False):
    """Writes one tensor.

    Args:
        array: numpy array, or what `np.asarray` takes. Strings may be `str` or `bytes`.
        dtype: int, `DataType` to send; `None` for the array's own.
        as_content: bool. Numbers go as raw bytes (`tensor_content`), the shortest way, instead of a list of values
            (`float_val` and so on), which is what TensorFlow Serving sends unless it is told otherwise.

    Returns:
        `TensorProto`.

    Raises:
        ValueError: if the values are of no dtype that can be sent, or not all of them fit in `dtype`.
    """
    array = np.asarray(array)
    if dtype is None:
        strings = array.dtype == object or array.dtype.kind in "SU"
        dtype = STRING if strings else dtype_number(array.dtype)
    proto = TensorProto(dtype=dtype)
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if dtype == STRING:
        proto.string_val.extend(_as_bytes(value) for value in array.ravel().tolist())
        return proto
    values = np.ascontiguousarray(_wire_values(array, dtype)).ravel()
    values = values.astype(values.dtype.newbyteorder("<"), copy=False)
    if as_content:
        proto.tensor_content = values.tobytes()
    elif dtype in (1, 2):
        proto.MergeFromString(_packed(dtype, values))
    else:
        getattr(proto, _FIELDS.get(dtype, "int_val")).extend(values.tolist())
    return proto


def _read_shape(name, proto):
    dimensions = proto.tensor_shape.dim
    if len(dimensions) > _MOST_DIMENSIONS:  # before they are listed: there may be millions
        raise invalid_argument(f'input "{name}" has {len(dimensions)} dimensions, more than {_MOST_DIMENSIONS}')
    shape = tuple(dimension.size for dimension in dimensions)
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise invalid_argument(f'input "{name}" has no valid shape: {shape or "unknown rank"}')
    return shape


def _read_content(name, content, dtype, count):
    size = count * (2 if dtype == BFLOAT16 else DTYPES[dtype].itemsize)
    if len(content) != size:
        raise invalid_argument(f'input "{name}" needs {size} bytes. Received: {len(content)}')
    if dtype == BFLOAT16:
        return _widen(np.frombuffer(content, "<u2"))
    values = np.frombuffer(content, DTYPES[dtype].newbyteorder("<"))
    if dtype == 10 and (values.view(np.uint8) > 1).any():
        raise invalid_argument(f'input "{name}" has a bool that is neither 0 nor 1')
    return values.astype(DTYPES[dtype], copy=False)


def _read_values(name, proto, dtype, shape, count):
    field = _FIELDS.get(dtype, "int_val")
    values = getattr(proto, field)
    sent = len(values)
    if sent > count:
        raise invalid_argument(f'input "{name}" of shape {shape} needs {count} values. Received: {sent} in {field}')
    if dtype == STRING:
        if count > MOST_STRINGS:
            raise invalid_argument(f'input "{name}" has {count} strings, more than {MOST_STRINGS}')
        size = max(len(values[-1]) if sent else 0, _STRING_BYTES)
    else:
        size = DTYPES[dtype].itemsize
    if (count - sent) * size > LARGEST_SHORT_FORM_BYTES:
        raise invalid_argument(
            f'input "{name}" of shape {shape} claims {count} values and sends {sent} in {field}; at most '
            f"{LARGEST_SHORT_FORM_BYTES} bytes are filled up with the last one"
        )
    if dtype == STRING:
        array = np.empty(count, object)
        array[:sent] = list(values)
        array[sent:] = values[-1] if sent else b""
        return array
    if not sent:
        return np.zeros(count, DTYPES[dtype])
    array = np.empty(count, DTYPES[dtype])
    array[:sent] = _read_numbers(name, proto, dtype, field)
    array[sent:] = array[sent - 1]
    return array


def _read_numbers(name, proto, dtype, field):
    """The numbers of a list in a proto, as an array of the dtype."""
    values = getattr(proto, field)
    if dtype in (1, 2):
        return _unpacked(proto, field, DTYPES[dtype].newbyteorder("<"))
    if dtype in (9, 10, 22, 23):
        return np.fromiter(values, DTYPES[dtype], len(values))
    numbers = np.fromiter(values, np.int32, len(values))
    limits = np.iinfo(np.uint16 if field == "half_val" else DTYPES[dtype])
    if not (limits.min <= numbers.min() and numbers.max() <= limits.max):
        raise invalid_argument(f'input "{name}" has values in {field} that are no {dtype_name(dtype)}')
    if dtype == HALF:
        return numbers.astype(np.uint16).view(np.float16)
    return _widen(numbers.astype(np.uint16)) if dtype == BFLOAT16 else numbers


def _wire_values(array, dtype):
    """What stands on the wire for an array: its numbers in the dtype, or their bits for the two short floats."""
    if dtype not in DTYPES:
        raise ValueError(f"{dtype_name(dtype)} cannot be sent. Possible: {', '.join(map(dtype_name, DTYPES))}")
    if array.dtype.name == "bfloat16":
        if dtype == BFLOAT16:
            return array.view(np.uint16)
        array = array.astype(np.float32)
    target = DTYPES[dtype]
    if not np.can_cast(array.dtype, target, "same_kind") and not (array.dtype.kind in "iu" and target.kind in "iu"):
        raise ValueError(f"values of {array.dtype} cannot be sent as {dtype_name(dtype)}")
    if array.dtype.kind in "iu" and target.kind in "iu" and array.size:
        limits = np.iinfo(target)
        if int(array.min()) < limits.min or int(array.max()) > limits.max:
            raise ValueError(f"values of {array.min()} to {array.max()} do not fit in {dtype_name(dtype)}")
    with np.errstate(over="ignore"):  # a float too large for the dtype is infinite in it
        values = array.astype(target, copy=False)
    if dtype == HALF:
        return np.ascontiguousarray(values).view(np.uint16)
    return _narrow(values) if dtype == BFLOAT16 else values


def _widen(bits):
    """bfloat16 bits (uint16) to float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _narrow(values):
    """float32 to the bits of the nearest bfloat16, ties to even."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0) | ((bits >> 16) & 0x8000).astype(np.uint16), rounded)


def _packed(dtype, values):
    """A list of floats as protobuf writes it: the field's tag, its length in bytes, the values."""
    content = values.tobytes()
    if not content:
        return b""
    head = bytearray([TensorProto.DESCRIPTOR.fields_by_name[_FIELDS[dtype]].number << 3 | 2])
    size = len(content)
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + content


def _unpacked(proto, field, dtype):
    """A list of floats from its block on the wire, many times faster than value by value."""
    alone = type(proto)()
    alone.CopyFrom(proto)
    alone.DiscardUnknownFields()
    for other, _ in alone.ListFields():
        if other.name != field:
            alone.ClearField(other.name)
    content = alone.SerializeToString()
    return np.frombuffer(content, dtype, offset=len(content) - len(getattr(proto, field)) * dtype.itemsize)


def _as_bytes(value):
    if isinstance(value, str):
        return value.encode("utf-8")
    if not isinstance(value, bytes):
        raise ValueError(f"a string tensor holds str or bytes. Received: {type(value).__name__}")
    return value
