"""Arrays of several requests as one, and the answer cut up again."""

import math

import numpy as np

__all__ = ["kind_of", "merge", "rows_of", "split"]

_MUCH = 64 << 20


def rows_of(inputs):
    """How many rows a request's inputs have, an int; `None` if they cannot stand in a batch: no dimension, no rows,
    or not equally many.
    """
    if not inputs or any(not array.ndim for array in inputs.values()):
        return None
    counts = {len(array) for array in inputs.values()}
    return counts.pop() if len(counts) == 1 and 0 not in counts else None


def kind_of(inputs, pad):
    """What inputs must have in common to stand in one batch, hashable.

    Args:
        inputs: dict from name to an array.
        pad: bool. Whether arrays are brought to one size, so that the number of their dimensions is enough.
    """
    return tuple((name, array.dtype, array.ndim if pad else array.shape[1:]) for name, array in sorted(inputs.items()))


def merge(requests, size):
    """One batch of several requests of one kind.

    Args:
        requests: list of dicts from name to an array. Where they differ beyond the first dimension, the smaller ones
            are filled up with zeros, or empty strings.
        size: int, rows of the batch; what is missing is filled up with copies of the first row.

    Returns:
        dict from name to an array of `size` rows; `None` if one large request would blow the others up.
    """
    needed = sum(_merged_bytes([request[name] for request in requests], size) for name in requests[0])
    sent = sum(array.nbytes for request in requests for array in request.values())
    if needed > max(_MUCH, 4 * sent):
        return None
    return {name: _merge([request[name] for request in requests], size) for name in requests[0]}


def split(outputs, counts, size):
    """Cuts the outputs of a batch up.

    Args:
        outputs: dict from name to an array.
        counts: rows of each request.
        size: int, rows of the batch.

    Returns:
        List of dicts from name to an array, one for each request; `None` if an output has not a row for each row.
    """
    if any(not array.ndim or len(array) != size for array in outputs.values()):
        return None
    ends = np.cumsum(counts)
    return [
        {name: array[end - count : end] for name, array in outputs.items()}
        for count, end in zip(counts, ends, strict=True)
    ]


def _common_shape(arrays):
    return tuple(map(max, zip(*(array.shape[1:] for array in arrays), strict=True)))


def _merged_bytes(arrays, size):
    return math.prod(_common_shape(arrays)) * size * arrays[0].itemsize


def _merge(arrays, size):
    empty = b"" if arrays[0].dtype == object else 0
    merged = np.full((size, *_common_shape(arrays)), empty, arrays[0].dtype)
    row = 0
    for array in arrays:
        merged[(slice(row, row + len(array)), *map(slice, array.shape[1:]))] = array
        row += len(array)
    merged[row:] = merged[0]
    return merged
