"""One loaded version of a model: a SavedModel and its signatures."""

import logging
from pathlib import Path

import grpc
import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the operators that a SavedModel with text in it needs
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from serving.errors import RequestError, invalid_argument
from serving.wire.tensors import from_array, to_array

__all__ = ["DEFAULT_SIGNATURE", "Servable"]

logger = logging.getLogger(__name__)

DEFAULT_SIGNATURE = "serving_default"
WARM_UP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
MOST_WARM_UP_RECORDS = 1000  # as TensorFlow Serving


class Servable:
    """A SavedModel that answers requests; safe to call from many threads.

    Args:
        folder: path of the SavedModel.
        name: str, name of the model.
        version: int.
        warm_up: bool. Whether its warm-up requests are run before it is given out.

    Raises:
        OSError: if the folder holds no SavedModel.
    """

    def __init__(self, folder, name="lts", version=1, warm_up=True):
        self.name = name
        self.version = version
        self.folder = Path(folder)
        self.signature_defs = _read_signature_defs(self.folder)
        # The object must live as long as its functions: it owns the variables.
        self._model = tf.saved_model.load(str(self.folder))
        self._signatures = dict(self._model.signatures)
        if warm_up:
            self._warm_up()

    def input_specs(self, signature_name):
        """Returns the inputs of a signature, a dict from name to `tf.TensorSpec`; raises `RequestError`."""
        function = self._signatures.get(signature_name)
        if function is None:
            message = f'Serving signature key "{signature_name}" not found.'
            raise RequestError(grpc.StatusCode.FAILED_PRECONDITION, message)
        return function.structured_input_signature[1]

    def predict(self, request):
        """Answers a request in the way of TensorFlow Serving's `Predict`.

        Args:
            request: `PredictRequest`; its model name and version are not looked at.

        Returns:
            `(signature name, dict of TensorProto)`, the outputs that `output_filter` names, or all.

        Raises:
            RequestError: for an unknown signature, wrong inputs or an unknown output.
            tf.errors.OpError: from the graph, for example for a photo that cannot be decoded.
        """
        signature_name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        specs = self.input_specs(signature_name)
        function = self._signatures[signature_name]
        _check_names(set(request.inputs), set(specs))
        outputs = _choose_outputs(list(request.output_filter), sorted(function.structured_outputs))
        arrays = {name: to_array(name, request.inputs[name], spec) for name, spec in specs.items()}
        inputs = {name: tf.constant(array, specs[name].dtype) for name, array in arrays.items()}
        results = function(**inputs)
        return signature_name, {name: from_array(results[name].numpy()) for name in outputs}

    def _warm_up(self):
        """Runs the recorded requests: the first run of each batch size costs many times a later one."""
        path = self.folder / WARM_UP_FILE
        if not path.is_file():
            return
        records = tf.data.TFRecordDataset(str(path)).take(MOST_WARM_UP_RECORDS).as_numpy_iterator()
        count = 0
        for record in records:
            log = prediction_log_pb2.PredictionLog.FromString(record)
            if log.HasField("predict_log"):
                self.predict(log.predict_log.request)
                count += 1
        logger.info("Warmed %s version %d up with %d requests", self.name, self.version, count)


def _read_signature_defs(folder):
    """Signatures as the file declares them, for `GetModelMetadata`."""
    path = folder / "saved_model.pb"
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no saved_model.pb in this folder")
    meta_graph = saved_model_pb2.SavedModel.FromString(path.read_bytes()).meta_graphs[0]
    return {name: definition for name, definition in meta_graph.signature_def.items() if not name.startswith("__")}


def _check_names(received, expected):
    if received != expected:
        extra, missing = sorted(received - expected), sorted(expected - received)
        raise invalid_argument(
            f"input size does not match signature: {len(received)}!={len(expected)} "
            f"len({{{','.join(sorted(received))}}}) != len({{{','.join(sorted(expected))}}}). "
            f"Sent extra: {{{','.join(extra)}}}. Missing but required: {{{','.join(missing)}}}."
        )


def _choose_outputs(wanted, available):
    seen = set()
    for name in wanted:
        if name not in available:
            raise invalid_argument(
                f"output tensor alias not found in signature: {name} "
                f"Outputs expected to be in the set {{{','.join(available)}}}."
            )
        if name in seen:
            raise invalid_argument(f"duplicate output tensor alias: {name}")
        seen.add(name)
    return wanted or available
