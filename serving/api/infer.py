"""What `Classify` and `Regress` share: one list of examples through one signature that says what it is for."""

from serving.api.reporting import reporting
from serving.api.running import fill_spec, leased, run_admitted, signature_name_of
from serving.errors import invalid_argument
from serving.wire.examples import read_examples

__all__ = ["INPUTS", "infer"]

INPUTS = "inputs"
"""Name of the one input, for serialized `tf.Example`s, of a signature of either kind."""


def infer(context, request, call, method, check, response, fill):
    """Answers a request that has a `model_spec` and an `input` of examples.

    Args:
        context: `ServingContext`.
        request: `ClassificationRequest` or `RegressionRequest`.
        call: `Call`.
        method: str, the RPC's name.
        check: function `(servable, signature name, whether the signature must say its method)` to names of outputs.
        response: empty response to fill.
        fill: function `(response.result, dict of arrays, rows)`.

    Returns:
        `response`.

    Raises:
        RequestError: for a wrong request, no room, a deadline that is over or a client that is gone.
        tf.errors.OpError: from the graph, for example for an example without a feature that it needs.
    """
    with reporting(context, call, method) as report:
        report.request = request
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        spec = request.model_spec
        with leased(context, spec, report) as servable:
            name = signature_name_of(spec)
            if name not in servable.signatures:
                raise invalid_argument(f"No signature was found with the name: {name}")
            outputs = check(servable, name, context.options.signature_method_name_check)
            inputs = {INPUTS: read_examples(request.input)}
            (results,) = run_admitted(context, servable, [(name, outputs)], inputs, call, report)
            fill_spec(response.model_spec, servable, spec.name, spec.signature_name)
            fill(response.result, results, len(inputs[INPUTS]))
            report.response = response
            return response
