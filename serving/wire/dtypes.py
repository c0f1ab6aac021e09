"""Types of tensors: TensorFlow's numbers and words for them, and the numpy dtypes that hold them."""

import numpy as np

from serving.wire.protos import POOL

__all__ = ["BFLOAT16", "DTYPES", "HALF", "STRING", "dtype_name", "dtype_number", "fits"]

STRING, BFLOAT16, HALF = 7, 14, 19

DTYPES = {
    1: np.dtype(np.float32),
    2: np.dtype(np.float64),
    3: np.dtype(np.int32),
    4: np.dtype(np.uint8),
    5: np.dtype(np.int16),
    6: np.dtype(np.int8),
    STRING: np.dtype(object),
    9: np.dtype(np.int64),
    10: np.dtype(np.bool_),
    BFLOAT16: np.dtype(np.float32),
    17: np.dtype(np.uint16),
    HALF: np.dtype(np.float16),
    22: np.dtype(np.uint32),
    23: np.dtype(np.uint64),
}
"""Number of a `tensorflow.DataType` to the numpy dtype of its arrays.

Strings are objects of `bytes`. numpy has no bfloat16: its values are float32, which holds each of them exactly.
"""

_NUMBERS = {dtype: number for number, dtype in DTYPES.items() if number != BFLOAT16}
_NAMES = POOL.FindEnumTypeByName("tensorflow.DataType").values_by_number


def dtype_name(number):
    """TensorFlow's own word for a `DataType`, for example `float` for 1 and `string` for 7."""
    return _NAMES[number].name.removeprefix("DT_").lower() if number in _NAMES else f"dtype {number}"


def dtype_number(dtype):
    """The `DataType` number of a numpy dtype; ValueError for one that has none here."""
    dtype = np.dtype(dtype)
    if dtype.name == "bfloat16":  # TensorFlow's arrays have this dtype, which numpy itself does not know
        return BFLOAT16
    number = STRING if dtype.kind in "SU" else _NUMBERS.get(dtype.newbyteorder("="))
    if number is None:
        raise ValueError(f"arrays of {dtype} cannot be sent. Possible: {', '.join(map(dtype_name, DTYPES))}")
    return number


def fits(shape, expected):
    """Whether a shape of ints is one that `expected` (ints and `None` for any; `None` for any rank) allows."""
    if expected is None:
        return True
    return len(shape) == len(expected) and all(e is None or e == n for n, e in zip(shape, expected, strict=True))
