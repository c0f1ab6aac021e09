"""`Regress`: examples in, one number for each out."""

import numpy as np

from serving.api.infer import INPUTS, infer
from serving.api.running import type_word
from serving.errors import invalid_argument
from serving.wire.protos import RegressionResponse

__all__ = ["REGRESS", "check_regression", "fill_regressions", "regress"]

REGRESS = "tensorflow/serving/regress"
OUTPUTS = "outputs"


def regress(context, request, call):
    """Answers a `RegressionRequest`.

    Args:
        context: `ServingContext`.
        request: `RegressionRequest`.
        call: `Call`.

    Returns:
        `RegressionResponse`.

    Raises:
        RequestError: for a wrong request, no room, a deadline that is over or a client that is gone.
        tf.errors.OpError: from the graph, for example for an example without a feature that it needs.
    """
    return infer(context, request, call, "Regress", check_regression, RegressionResponse(), fill_regressions)


def check_regression(servable, signature_name, check_method_name):
    """Checks that a signature gives a number for each example.

    Args:
        servable: `Servable`.
        signature_name: str, one of its signatures.
        check_method_name: bool. Whether the signature must say so itself.

    Returns:
        Names of its outputs that make a regression.

    Raises:
        RequestError: `INVALID_ARGUMENT`, in TensorFlow Serving's words.
    """
    signature = servable.signatures[signature_name]
    if check_method_name and signature.method_name != REGRESS:
        raise invalid_argument(
            f"Expected regression signature method_name to be {REGRESS}. Was: {signature.method_name}"
        )
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    definition = servable.signature_defs[signature_name]
    if INPUTS not in signature.inputs:
        raise invalid_argument(f"No regression inputs found in SignatureDef: {definition}")
    if OUTPUTS not in signature.outputs:
        raise invalid_argument(f"No regression outputs found in SignatureDef: {definition}")
    return [OUTPUTS]


def fill_regressions(result, outputs, rows):
    """Writes numbers into a `RegressionResult`.

    Args:
        result: `RegressionResult` to fill.
        outputs: dict with `outputs`, float32 `(rows,)` or `(rows, 1)`.
        rows: int, number of examples.

    Raises:
        RequestError: `INVALID_ARGUMENT` if they are of another type or shape.
    """
    values = outputs[OUTPUTS]
    if not (values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 1)):
        shape = ",".join(map(str, values.shape))
        raise invalid_argument(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [{shape}]"
        )
    if values.shape[0] != rows:
        raise invalid_argument(f"Input batch size did not match output batch size: {rows} vs. {values.shape[0]}")
    if values.dtype != np.float32:
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT. Got: {type_word(values)}")
    for value in values.ravel().tolist():
        result.regressions.add(value=value)
