"""TensorProto in and out, checked against what a signature expects before any memory is given out for it."""

import math

import numpy as np
import tensorflow as tf

from serving.errors import invalid_argument

__all__ = ["LARGEST_MESSAGE_BYTES", "from_array", "to_array"]

LARGEST_MESSAGE_BYTES = 256 * 2**20
"""What a client and a server send and take at most in one message."""

LARGEST_TENSOR_BYTES = 2**30


def to_array(name, proto, spec):
    """Reads one input of a request.

    Args:
        name: str, name of the input, for messages.
        proto: `TensorProto`, from anywhere.
        spec: `tf.TensorSpec` that the signature declares.

    Returns:
        numpy array of the spec's dtype and a shape that fits it; strings come as an object array of bytes.

    Raises:
        RequestError: `INVALID_ARGUMENT`, naming the input, for a wrong dtype or shape, or a malformed tensor.
    """
    if proto.dtype != spec.dtype.as_datatype_enum:
        received = _dtype_name(proto.dtype)
        raise invalid_argument(f'input "{name}" expects {spec.dtype.name} but {received} is provided')
    shape = _read_shape(name, proto)
    if not spec.shape.is_compatible_with(shape):
        raise invalid_argument(f'input "{name}" expects shape {spec.shape} but {tuple(shape)} is provided')
    count = math.prod(shape)
    if spec.dtype == tf.string:
        return _read_strings(name, proto, shape, count)
    size = count * spec.dtype.size
    if size > LARGEST_TENSOR_BYTES:
        raise invalid_argument(f'input "{name}" would take {size} bytes, more than {LARGEST_TENSOR_BYTES}')
    if proto.tensor_content and len(proto.tensor_content) != size:
        raise invalid_argument(f'input "{name}" needs {size} bytes. Received: {len(proto.tensor_content)}')
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError) as error:
        raise invalid_argument(f'input "{name}" is not a valid tensor: {error}') from error


def from_array(array):
    """Writes one output. Numbers go as raw bytes (`tensor_content`), many times cheaper than value by value.

    Args:
        array: numpy array, or a tensor.

    Returns:
        `TensorProto`.
    """
    return tf.make_tensor_proto(np.asarray(array))


def _read_shape(name, proto):
    shape = [dimension.size for dimension in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise invalid_argument(f'input "{name}" has no valid shape: {shape or "unknown rank"}')
    return shape


def _read_strings(name, proto, shape, count):
    values = list(proto.string_val)
    # One value for many is the short form that TensorFlow's own protocol allows; the size is still the sender's word.
    if len(values) == 1 and 1 < count <= 2**20:
        values *= count
    if len(values) != count:
        raise invalid_argument(f'input "{name}" of shape {tuple(shape)} needs {count} strings. Received: {len(values)}')
    return np.array(values, dtype=object).reshape(shape)


def _dtype_name(number):
    try:
        return tf.as_dtype(number).name
    except TypeError:
        return f"dtype {number}"
