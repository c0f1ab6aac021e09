"""One loaded version of a model: a SavedModel, its signatures and a session that runs them."""

import contextlib
import dataclasses
import functools
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf

from serving.core.batching import Batcher, batch_settings
from serving.core.session import ModelSession, session_config
from serving.core.versions import GRAPH_FILES
from serving.errors import RequestError, invalid_argument
from serving.wire import protos

__all__ = ["DEFAULT_SIGNATURE", "Servable", "Signature", "TensorSpec"]

DEFAULT_SIGNATURE = "serving_default"
_START_UP = "__saved_model_"  # how the entries begin that name operations and no tensors
_MOST_CHOICES = 16
_MLMD_FILE = Path("assets.extra") / "mlmd_uuid"


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """An input or output of a signature.

    Attributes:
        name: str, the tensor's name in the graph; empty for one that is no plain tensor.
        dtype: int, `tensorflow.DataType`.
        shape: tuple of int and `None`; `None` if any rank will do: an input in the middle of a graph, as TensorFlow 1
            has them, takes what the operators behind it take, whatever shape the model's file declares.
    """

    name: str
    dtype: int
    shape: tuple[int | None, ...] | None


@dataclasses.dataclass(frozen=True)
class Signature:
    """A function of a model that requests can name.

    Attributes:
        name: str.
        method_name: str, for example `tensorflow/serving/predict`.
        inputs, outputs: dicts from the request's name of a tensor to its `TensorSpec`.
    """

    name: str
    method_name: str
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]


class Servable:
    """A SavedModel that answers requests; safe to call from many threads.

    Args:
        folder: path of the SavedModel, of TensorFlow 1 or 2.
        name: str, name of the model.
        version: int.
        options: `ServerOptions`: tags, threads and memory of the session, batching of requests.

    Attributes:
        signatures: dict from name to `Signature`, those that requests can name.
        signature_defs: dict from name to `SignatureDef`, all that the file declares.
        mlmd_uuid: str, the run's key in ML Metadata if the model carries one, else `None`.

    Raises:
        OSError: if the folder holds no SavedModel.
        tf.errors.OpError, ValueError, RuntimeError: if it does not load.
    """

    def __init__(self, folder, name, version, options):
        self.folder = Path(folder)
        self.name = name
        self.version = version
        if not any((self.folder / file).is_file() for file in GRAPH_FILES):
            raise FileNotFoundError(f"{self.folder}: no {GRAPH_FILES[0]} in this folder")
        settings = batch_settings(self.folder, options)
        self._session = ModelSession(self.folder, options.saved_model_tags, session_config(options))
        self.signature_defs = {
            key: protos.SignatureDef.FromString(definition.SerializeToString())
            for key, definition in self._session.signature_defs.items()
        }
        self.signatures = {
            key: self._read_signature(key, one)
            for key, one in self.signature_defs.items()
            if not key.startswith(_START_UP)
        }
        self._fetches = {}  # signature name -> set of tuples of tensor names that have been run together
        self._batcher = Batcher(self._run, settings) if settings else None
        self.mlmd_uuid = None
        with contextlib.suppress(OSError, UnicodeDecodeError):
            self.mlmd_uuid = (self.folder / _MLMD_FILE).read_text(encoding="utf-8").strip() or None

    def signature(self, name):
        """Returns a `Signature`; raises `RequestError` (`FAILED_PRECONDITION`) for an unknown one."""
        signature = self.signatures.get(name or DEFAULT_SIGNATURE)
        if signature is None:
            message = f'Serving signature key "{name}" not found.'
            raise RequestError(grpc.StatusCode.FAILED_PRECONDITION, message)
        return signature

    def run(self, signature_name, inputs, outputs, timeout=None):
        """Runs one signature.

        Args:
            signature_name: str.
            inputs: dict from input name to an array; strings as an object array of bytes.
            outputs: list of output names; nothing else is computed.
            timeout: float, seconds that it may take; `None` for no limit.

        Returns:
            dict from output name to an array, in the order of `outputs`; strings are object arrays of bytes.

        Raises:
            RequestError: for an unknown signature, or an input or output that is no plain tensor.
            tf.errors.OpError: from the graph, for example for a photo that cannot be decoded.
        """
        if self._batcher is not None:
            return self._batcher.run(signature_name, inputs, outputs, timeout)
        return self._run(signature_name, inputs, outputs, timeout)

    def _run(self, signature_name, inputs, outputs, timeout=None):
        signature = self.signature(signature_name)
        feeds = {}
        for name, array in inputs.items():
            spec = _plain(signature.inputs, name)
            # A wrong dtype would only be found by the operators behind it.
            feeds[spec.name] = np.asarray(array, dtype=_numpy_dtype(spec.dtype))
        wanted = {name: _plain(signature.outputs, name) for name in outputs}
        fetches = self._choose_fetches(signature, {spec.name for spec in wanted.values()})
        results = dict(zip(fetches, self._session.run(feeds, fetches, timeout), strict=True))
        return {name: np.asarray(results[spec.name], _numpy_dtype(spec.dtype)) for name, spec in wanted.items()}

    def _choose_fetches(self, signature, wanted):
        """What to compute for some of a signature's outputs: the first run of each choice costs seconds and memory, so
        that beyond some of them all outputs are computed.
        """
        fetches = tuple(sorted(wanted))
        known = self._fetches.setdefault(signature.name, set())
        if fetches not in known:
            if len(known) >= _MOST_CHOICES:
                return sorted({spec.name for spec in signature.outputs.values() if spec.name})
            known.add(fetches)
        return fetches

    def close(self):
        """Frees the model's memory and threads. The manager calls it once no request runs in it."""
        if self._batcher is not None:
            self._batcher.close()
        self._session.close()

    def _read_signature(self, key, definition):
        inputs = {name: _read_spec(info) for name, info in definition.inputs.items()}
        for name, spec in inputs.items():
            if spec.name and self._session.takes_any_shape(spec.name):
                inputs[name] = dataclasses.replace(spec, shape=None)
        outputs = {name: _read_spec(info) for name, info in definition.outputs.items()}
        return Signature(key, definition.method_name, inputs, outputs)


def _read_spec(info):
    if info.tensor_shape.unknown_rank:
        return TensorSpec(info.name, info.dtype, None)
    shape = tuple(None if dimension.size < 0 else dimension.size for dimension in info.tensor_shape.dim)
    return TensorSpec(info.name, info.dtype, shape)


def _plain(specs, name):
    if not specs[name].name:
        raise invalid_argument(f'tensor "{name}" is a sparse or composite one, which requests cannot name')
    return specs[name]


@functools.cache
def _numpy_dtype(dtype):
    return tf.as_dtype(dtype).as_numpy_dtype  # object for strings
