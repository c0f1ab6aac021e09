"""`Predict`: named arrays in, named arrays out, through any signature."""

import dataclasses
import functools

import grpc
import numpy as np

from serving.api.reporting import reporting
from serving.api.running import fill_spec, leased, run_admitted, signature_name_of
from serving.errors import RequestError, invalid_argument
from serving.wire.protos import PredictRequest, PredictResponse
from serving.wire.tensors import from_array, to_array

__all__ = ["Result", "check_names", "predict", "run_signature"]

METHOD_NAMES = ("tensorflow/serving/predict", "tensorflow/serving/classify", "tensorflow/serving/regress")


@dataclasses.dataclass(frozen=True)
class Result:
    """What a signature gave.

    Attributes:
        model: str, the model's name.
        version: int, the version that answered.
        signature: str, the signature's name.
        outputs: dict of arrays by name; strings are objects of `bytes`.
    """

    model: str
    version: int
    signature: str
    outputs: dict[str, np.ndarray]


def predict(context, request, call):
    """Answers a `PredictRequest`.

    Args:
        context: `ServingContext`.
        request: `PredictRequest`.
        call: `Call`.

    Returns:
        `PredictResponse`.

    Raises:
        RequestError, tf.errors.OpError: as `run_signature`.
    """
    with reporting(context, call, "Predict") as report:
        report.request = request
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        read = functools.partial(_read_inputs, request)
        result = run_signature(context, request.model_spec, read, call, request.output_filter)
        response = report.response = _make_response(result, context.options.tensor_content)
        return response


def run_signature(context, model_spec, read_inputs, call, output_filter=(), method="Predict"):
    """Runs one signature of one model.

    Args:
        context: `ServingContext`.
        model_spec: `ModelSpec`.
        read_inputs: callable `(Signature) -> dict of arrays by name`, called once the signature is known.
        call: `Call`.
        output_filter: names of the outputs to give; all if empty.
        method: str, for the event that tells the end.

    Returns:
        `Result`.

    Raises:
        RequestError: for an unknown model, version, signature or output, wrong inputs, no room, a deadline that is
            over or a client that is gone.
        tf.errors.OpError: from the graph, for example for a photo that cannot be decoded.
    """
    with reporting(context, call, method) as report, leased(context, model_spec, report) as servable:
        name = signature_name_of(model_spec)
        signature = _find_signature(servable, name, call, context.options.signature_method_name_check)
        defaults = servable.signature_defs[name].defaults
        inputs = dict(read_inputs(signature))
        for missing in set(defaults) & set(signature.inputs) - set(inputs):
            spec = signature.inputs[missing]
            inputs[missing] = to_array(missing, defaults[missing], spec.dtype, spec.shape)
        check_names(inputs, signature)
        outputs = _choose_outputs(output_filter, signature)
        (results,) = run_admitted(context, servable, [(name, outputs)], inputs, call, report)
        result = Result(model_spec.name, servable.version, name, {name: results[name] for name in outputs})
        if report.request is None:
            report.request = functools.partial(_as_messages, model_spec, inputs, output_filter, result)
        return result


def check_names(names, signature, optional=()):
    """Compares the inputs that a request sends with those that its signature takes.

    Args:
        names: the names that are sent.
        signature: `Signature`.
        optional: names that need not be sent.

    Raises:
        RequestError: `INVALID_ARGUMENT`, in TensorFlow Serving's words.
    """
    received, expected = set(names), set(signature.inputs)
    extra, missing = received - expected, expected - received
    if not extra and missing <= set(optional):
        return
    if len(received) != len(expected) or not extra:
        raise invalid_argument(
            f"input size does not match signature: {len(received)}!={len(expected)} "
            f"len({_braced(received)}) != len({_braced(expected)}). "
            f"Sent extra: {_braced(extra)}. Missing but required: {_braced(missing)}."
        )
    raise invalid_argument(
        f"input tensor alias not found in signature: {min(extra)}. "
        f"Inputs expected to be in the set {_braced(expected)}."
    )


def _find_signature(servable, name, call, check_method_name):
    signature = servable.signatures.get(name)
    if signature is None and call.transport == "REST":
        raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
    if signature is None:
        message = f'Serving signature key "{name}" not found.'
        raise RequestError(grpc.StatusCode.FAILED_PRECONDITION, message)
    if check_method_name and signature.method_name not in METHOD_NAMES:
        message = (
            f"Expected prediction signature method_name to be one of {_braced(METHOD_NAMES)}. "
            f"Was: {signature.method_name}"
        )
        raise RequestError(grpc.StatusCode.INTERNAL, message)
    return signature


def _choose_outputs(wanted, signature):
    seen = set()
    for name in wanted:
        if name not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {name} "
                f"Outputs expected to be in the set {_braced(signature.outputs)}."
            )
        if name in seen:
            raise invalid_argument(f"duplicate output tensor alias: {name}")
        seen.add(name)
    return list(wanted) or sorted(signature.outputs)


def _read_inputs(request, signature):
    """The arrays of a `PredictRequest`; names that no array is sent for are left to `run_signature`."""
    check_names(request.inputs, signature, optional=signature.inputs)
    specs = signature.inputs
    return {name: to_array(name, proto, specs[name].dtype, specs[name].shape) for name, proto in request.inputs.items()}


def _make_response(result, as_content):
    response = PredictResponse()
    fill_spec(response.model_spec, result, result.model, result.signature)
    for name, array in result.outputs.items():
        try:
            response.outputs[name].CopyFrom(from_array(array, as_content=as_content))
        except ValueError as error:
            message = f'output "{name}" cannot be sent: {error}'
            raise RequestError(grpc.StatusCode.UNIMPLEMENTED, message) from None
    return response


def _as_messages(model_spec, inputs, output_filter, result):
    """What a request over gRPC would have been, for the request log."""
    request = PredictRequest(model_spec=model_spec, output_filter=output_filter)
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(from_array(array))
    return request, _make_response(result, as_content=True)


def _braced(names):
    return "{" + ",".join(sorted(names)) + "}"
