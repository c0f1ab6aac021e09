"""The requests that a model carries with it: the first run of each batch size costs many times a later one."""

import logging
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError

from serving.errors import RequestError, explain, invalid_argument
from serving.wire.examples import read_examples
from serving.wire.protos import PredictionLog
from serving.wire.tensors import to_array

__all__ = ["MOST_RECORDS", "WARM_UP_FILE", "warm_up"]

logger = logging.getLogger(__name__)

WARM_UP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
MOST_RECORDS = 1000
"""As in TensorFlow Serving: a model with more is refused."""


def warm_up(servable, iterations=1, run=None):
    """Runs the recorded requests of a servable, `PredictionLog`s in a TFRecord file; none if there is no file.

    Args:
        servable: `Servable`.
        iterations: int, how often each request is run.
        run: callable as `Servable.run`, which is the default: how requests will be run. What another way of running
            them computes for the first time costs as much as if there had been no warm-up.

    Returns:
        int, how many records were run.

    Raises:
        RequestError: if the file is damaged or too long, or one of its requests fails.
    """
    path = servable.folder / WARM_UP_FILE
    if not path.is_file():
        return 0
    run = run or servable.run
    count = ignored = 0
    try:
        for number, record in enumerate(tf.compat.v1.io.tf_record_iterator(str(path)), 1):
            if number > MOST_RECORDS:
                raise invalid_argument(f"Number of warmup records exceeds the maximum ({MOST_RECORDS}) at {path}")
            log = _parse(record, path)
            kind = log.WhichOneof("log_type")
            if kind is None:  # a run of a session, or what a later TensorFlow Serving knows
                ignored += 1
                continue
            for _ in range(iterations):
                _RUN[kind](servable, run, getattr(log, kind).request)
            count += 1
    except (tf.errors.OpError, RequestError) as error:
        code, message = explain(error)
        raise RequestError(code, f"warm-up record {count + ignored + 1} of {path}: {message}") from error
    logger.info("Warmed %s version %d up with %d requests", servable.name, servable.version, count)
    if ignored:
        logger.warning("%s: %d records are no request of a kind that can be run, and are passed over", path, ignored)
    return count


def _parse(record, path):
    try:
        return PredictionLog.FromString(record)
    except DecodeError:
        raise invalid_argument(f"Failed to parse warmup record from {path}") from None


def _run_predict(servable, run, request):
    signature = servable.signature(request.model_spec.signature_name)
    inputs = {}
    for name, proto in request.inputs.items():
        spec = signature.inputs.get(name)
        if spec is None:
            raise invalid_argument(f"input tensor alias not found in signature: {name}")
        inputs[name] = to_array(name, proto, spec.dtype, None)
    run(signature.name, inputs, list(request.output_filter or signature.outputs))


def _run_examples(servable, run, request):
    _run_on(servable, run, request.model_spec, read_examples(request.input))


def _run_multi(servable, run, request):
    examples = read_examples(request.input)
    for task in request.tasks:
        _run_on(servable, run, task.model_spec, examples)


def _run_on(servable, run, model_spec, examples):
    signature = servable.signature(model_spec.signature_name)
    if len(signature.inputs) != 1:
        raise invalid_argument(f'signature "{signature.name}" takes {len(signature.inputs)} inputs and not examples')
    run(signature.name, dict.fromkeys(signature.inputs, examples), list(signature.outputs))


_RUN = {
    "predict_log": _run_predict,
    "classify_log": _run_examples,
    "regress_log": _run_examples,
    "multi_inference_log": _run_multi,
}
