"""What a REST request asks for, answered as JSON text. Blocking: each call is a thread's work."""

import gzip
import re

import grpc

from serving.api.classify import classify
from serving.api.metadata import SIGNATURE_DEF, get_model_metadata
from serving.api.predict import run_signature
from serving.api.regress import regress
from serving.api.status import get_model_status
from serving.errors import RequestError, resource_exhausted
from serving.wire import json_answers
from serving.wire.json_examples import examples_of, fill_input
from serving.wire.json_tensors import read_inputs, rows_of
from serving.wire.json_text import check_structure, parse, parsed_bytes
from serving.wire.protos import (
    ClassificationRequest,
    GetModelMetadataRequest,
    GetModelStatusRequest,
    ModelSpec,
    RegressionRequest,
)
from serving.wire.tensors import LARGEST_MESSAGE_BYTES

__all__ = ["METHODS", "answer", "check_arrived"]

METHODS = {
    "predict": "Predict",
    "classify": "Classify",
    "regress": "Regress",
    "metadata": "GetModelMetadata",
    "status": "GetModelStatus",
}
"""The method over gRPC for each action of a path."""

_SIGNATURE_NAME = re.compile(rb'"signature_name"\s*:\s*"([^"\\]{0,200})"')
_WORTH_A_ZIP = 1000  # bytes


def answer(context, path, body, call, zipped=False):
    """Answers a request.

    Args:
        context: `ServingContext`.
        path: `RestPath`.
        body: bytearray, empty for status and metadata. Its room is held by the caller.
        call: `Call`.
        zipped: bool. Whether the client takes gzip.

    Returns:
        `(bytes, bool)`, JSON text, and whether it is zipped.

    Raises:
        RequestError, tf.errors.OpError: as the methods of `serving.api`.
    """
    text = _ANSWERS[path.action](context, path, body, call)
    if len(text) > LARGEST_MESSAGE_BYTES:
        raise resource_exhausted(f"the answer is larger than {LARGEST_MESSAGE_BYTES} bytes")
    if zipped and len(text) >= _WORTH_A_ZIP:
        return gzip.compress(text, compresslevel=1, mtime=0), True
    return text, False


def check_arrived(context, path, body):
    """Refuses the beginning of a body that no signature of its model could take, before the rest of it is kept.

    Args:
        context: `ServingContext`.
        path: `RestPath`.
        body: bytearray, what has arrived.

    Raises:
        RequestError: `RESOURCE_EXHAUSTED`.
    """
    _, structure = parsed_bytes(body)
    refused = None
    for inputs in _possible_inputs(context, path, body):
        try:
            return check_structure(body, structure, inputs, context.admission.limits.max_rows)
        except RequestError as error:
            refused = error
    raise refused


def _predict(context, path, body, call):
    spec, in_rows = ModelSpec(), False
    path.fill(spec)
    document = _parse(context, path, body)
    _check_rows(context, rows_of(document))
    spec.signature_name = document.get("signature_name", "")

    def read(signature):
        nonlocal document, in_rows
        inputs, in_rows = read_inputs(document, signature.inputs)
        document = None  # the model may take long, and its arrays are all that it needs
        return inputs

    result = run_signature(context, spec, read, call)
    return json_answers.outputs_text(result.outputs, in_rows)


def _classify(context, path, body, call):
    response = classify(context, _read_examples(context, path, body, ClassificationRequest()), call)
    return json_answers.classifications_text(response.result)


def _regress(context, path, body, call):
    response = regress(context, _read_examples(context, path, body, RegressionRequest()), call)
    return json_answers.regressions_text(response.result)


def _status(context, path, body, call):
    request = GetModelStatusRequest()
    path.fill(request.model_spec)
    return json_answers.status_text(get_model_status(context, request, call))


def _metadata(context, path, body, call):
    request = GetModelMetadataRequest(metadata_field=[SIGNATURE_DEF])
    path.fill(request.model_spec)
    return json_answers.metadata_text(get_model_metadata(context, request, call))


_ANSWERS = {
    "predict": _predict,
    "classify": _classify,
    "regress": _regress,
    "status": _status,
    "metadata": _metadata,
}


def _read_examples(context, path, body, request):
    path.fill(request.model_spec)
    document = _parse(context, path, body)
    _check_rows(context, len(examples_of(document)))
    request.model_spec.signature_name = document.get("signature_name", "")
    fill_input(document, request.input)
    return request


def _parse(context, path, body):
    """Parses a body once there is room for what it takes, and empties it. The room is given back at once: the arrays
    that are made of the objects are counted as such.
    """
    check_arrived(context, path, body)
    text, structure = parsed_bytes(body)
    with context.admission.receiving(text + structure):
        document = parse(body)
    body.clear()
    return document


def _possible_inputs(context, path, body):
    """The inputs of the signature that a body seems to name, or of each that it may still name; each as a list."""
    if path.action != "predict":
        return [[]]
    spec = ModelSpec()
    path.fill(spec)
    found = _SIGNATURE_NAME.search(body)
    try:
        with context.manager.lease(spec) as servable:
            signatures = servable.signatures
            named = found and signatures.get(found.group(1).decode("utf-8", "replace"))
            chosen = [named] if named else signatures.values()
            return [list(signature.inputs.values()) for signature in chosen] or [[]]
    except RequestError:  # said once the body has been parsed, as TensorFlow Serving does
        return [[]]


def _check_rows(context, rows):
    if rows > context.admission.limits.max_rows:
        most = context.admission.limits.max_rows
        raise RequestError(
            grpc.StatusCode.RESOURCE_EXHAUSTED, f"{rows} rows in one request, more than the {most} allowed"
        )
