"""From a request's `ModelSpec` and arrays to the outputs of a model: what all methods of inference share."""

import contextlib

import grpc

from serving.core.limits import cost_of
from serving.errors import RequestError, invalid_argument
from serving.wire.dtypes import DTYPES, dtype_name, dtype_number, fits

__all__ = ["DEFAULT_SIGNATURE", "fill_spec", "leased", "run_admitted", "signature_name_of", "type_word"]

DEFAULT_SIGNATURE = "serving_default"


def signature_name_of(model_spec):
    """The signature that a request means."""
    return model_spec.signature_name or DEFAULT_SIGNATURE


@contextlib.contextmanager
def leased(context, model_spec, report):
    """Gives the servable that a request means; it is not closed within the block.

    Args:
        context: `ServingContext`.
        model_spec: `ModelSpec`.
        report: `Report`, where the model's name, version and signature are written.

    Yields:
        `Servable`.

    Raises:
        RequestError: where there is no such model or version.
    """
    report.model = model_spec.name
    report.signature = signature_name_of(model_spec)
    with context.manager.lease(model_spec) as servable:
        report.version = servable.version
        yield servable


def run_admitted(context, servable, runs, inputs, call, report):
    """Runs signatures on the same inputs once there is room for them.

    Args:
        context: `ServingContext`.
        servable: `Servable`.
        runs: list of pairs of a signature's name and the names of its wanted outputs.
        inputs: dict of arrays by name.
        call: `Call`.
        report: `Report`, where the rows are written.

    Returns:
        List of dicts of arrays by name, one for each run.

    Raises:
        RequestError: for inputs that a signature does not take, where there is no room, or if the client is gone or
            its deadline is over before the turn comes.
        tf.errors.OpError: from the graph.
    """
    for name, _ in runs:
        _check_arrays(inputs, servable.signatures[name])
    cost = cost_of(inputs)
    report.rows = cost.rows
    results = []
    with context.admission.admit(cost, call):
        for name, outputs in runs:
            remaining = call.remaining()
            if call.cancelled:
                raise RequestError(grpc.StatusCode.CANCELLED, "the client is gone")
            if remaining == 0:
                raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline is over")
            results.append(context.run(servable, name, inputs, outputs, remaining))
    return results


def fill_spec(model_spec, servable, name, signature_name):
    """Writes which model answered into a response's `ModelSpec`.

    Args:
        model_spec: `ModelSpec` to fill.
        servable: `Servable`.
        name: str, the model's name as the request says it.
        signature_name: str; empty for none.
    """
    model_spec.name = name
    model_spec.version.value = servable.version
    model_spec.signature_name = signature_name


def type_word(array):
    """TensorFlow's long word for an array's type, for example `DT_FLOAT`."""
    try:
        return f"DT_{dtype_name(dtype_number(array.dtype)).upper()}"
    except ValueError:
        return str(array.dtype)


def _check_arrays(inputs, signature):
    """A request that does not fit its signature must fail alone, before it meets others in one batch."""
    for name, array in inputs.items():
        spec = signature.inputs[name]
        expected = DTYPES.get(spec.dtype)
        if expected is None or array.dtype != expected:
            received = dtype_name(dtype_number(array.dtype))
            raise invalid_argument(f'input "{name}" expects {dtype_name(spec.dtype)} but {received} is provided')
        if not fits(array.shape, spec.shape):
            raise invalid_argument(f'input "{name}" expects shape {spec.shape} but {array.shape} is provided')
