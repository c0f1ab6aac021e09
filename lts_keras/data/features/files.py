"""One sentence's file: `.npz` with `features` and `prior`. Looked at without reading it whole, read, and written."""

import io
import math
import re
import struct
import zipfile
import zlib

import numpy as np

from lts_keras.data.schema import DataError
from lts_keras.utils.files import atomic_write

__all__ = ["look_at", "read_sentence", "write_sentence"]

_DTYPES = ("float16", "float32")
_ARRAYS = ("features", "prior")
_DAMAGED = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What zipfile and numpy raise for files that are cut, damaged, encrypted or something else."""

_HEADER = re.compile(rb"\{'descr': '([^']*)', 'fortran_order': (True|False), 'shape': \(([\d, ]*)\), *\}\s*")


def look_at(path, header):
    """Checks the directory and the array headers of a file; the values stay unread.

    Args:
        path: path of the file.
        header: `FeatureHeader`; says which shapes are right.

    Returns:
        Tuple of the CRC-32 of `features` and of `prior`, which know the content.

    Raises:
        DataError: the file is missing, cut or no `.npz`, or an array is missing or of another shape or dtype.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            sums = []
            for name in _ARRAYS:
                sums.append(archive.getinfo(f"{name}.npy").CRC)
                with archive.open(f"{name}.npy") as file:
                    dtype, _, shape = _array_header(file)
                _check_array(path, name, shape, dtype, header)
            return tuple(sums)
    except DataError:
        raise
    except _DAMAGED as error:
        raise _unreadable(path, error) from error


def read_sentence(path, header):
    """Reads one sentence.

    Args:
        path: path of the file.
        header: `FeatureHeader`.

    Returns:
        `(features, prior)`: float32 `(grid, grid, channels)`, and the logits of the coarse mask `(grid, grid, 1)`.

    Raises:
        DataError: as `look_at`; a value that is not finite, or a probability outside of 0..1.
    """
    look_at(path, header)  # so that nothing large is read out of a file that says something else
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = [_read_array(archive, name) for name in _ARRAYS]
    except _DAMAGED as error:
        raise _unreadable(path, error) from error
    for name, array in zip(_ARRAYS, arrays, strict=True):
        if not np.isfinite(array).all():
            raise DataError(f"{path}: {name} must be finite. Found: {_strange(array)} among its values")
    features, prior = (np.asarray(array, "float32") for array in arrays)
    prior = prior.reshape(header.grid, header.grid, 1)
    if header.prior == "probabilities":
        if prior.min() < 0 or prior.max() > 1:
            raise DataError(
                f"{path}: prior must be probabilities, 0 to 1, as features.json says. Found: {prior.min():g} to "
                f"{prior.max():g}"
            )
        # Beyond, float32's logits are noise.
        prior = np.clip(prior, 1e-6, 1 - 1e-6)
        prior = np.log(prior) - np.log1p(-prior)
    return features, prior


def write_sentence(path, features, prior):
    """Writes one sentence aside and renames it.

    Args:
        path: path of the file.
        features: float array `(grid, grid, channels)`; kept in 16 bits, cut to the range that these have.
        prior: float32 array `(grid, grid, 1)`, logits; kept as they are, so that the coarse mask stays what it was.
    """
    largest = np.finfo("float16").max
    buffer = io.BytesIO()
    np.savez(
        buffer, features=np.clip(features, -largest, largest).astype("float16"), prior=np.asarray(prior, "float32")
    )
    atomic_write(path, buffer.getvalue())


def _read_array(archive, name):
    with archive.open(f"{name}.npy") as file:
        dtype, order, shape = _array_header(file)
        values = file.read(dtype.itemsize * math.prod(shape))
    return np.frombuffer(values, dtype).reshape(shape, order=order)


def _array_header(file):
    """Dtype, order in memory and shape of an array.

    Not by numpy, which takes the header for Python and parses it so: in Python 3.11 two threads that parse at a time
    trip over each other (`SystemError: AST constructor recursion depth mismatch`), and files are read on many.
    """
    major, _ = np.lib.format.read_magic(file)
    length = struct.Struct("<H" if major == 1 else "<I")
    (count,) = length.unpack(_read(file, length.size))
    text = _read(file, count)
    found = _HEADER.fullmatch(text)
    if not found:
        raise ValueError(f"an array's header that numpy does not write: {text[:100]!r}")
    dtype, fortran, shape = (group.decode() for group in found.groups())
    return np.dtype(dtype), "F" if fortran == "True" else "C", tuple(map(int, re.findall(r"\d+", shape)))


def _read(file, count):
    data = file.read(count)
    if len(data) < count:
        raise EOFError(f"{count} bytes announced, {len(data)} there")
    return data


def _check_array(path, name, shape, dtype, header):
    if dtype.name not in _DTYPES:
        raise DataError(f"{path}: {name} must be {' or '.join(_DTYPES)}. Found: {dtype}")
    side = (header.grid, header.grid)
    right = [(*side, header.channels)] if name == "features" else [side, (*side, 1)]
    if tuple(shape) not in right:
        wanted = " or ".join(map(str, right))
        raise DataError(f"{path}: {name} must have the shape {wanted}, as features.json says. Found: {tuple(shape)}")


def _strange(array):
    return "nan" if np.isnan(array).any() else "inf"


def _unreadable(path, error):
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: no such file, and the index names it")
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{path}: not an .npz file of features and prior that can be read: {reason}")
