"""`MultiInference`: the same examples through several signatures of one model."""

import grpc

from serving.api.classify import CLASSIFY, check_classification, fill_classifications
from serving.api.infer import INPUTS
from serving.api.regress import REGRESS, check_regression, fill_regressions
from serving.api.reporting import reporting
from serving.api.running import fill_spec, leased, run_admitted, signature_name_of
from serving.errors import RequestError, invalid_argument
from serving.wire.examples import read_examples
from serving.wire.protos import ModelSpec, MultiInferenceResponse

__all__ = ["multi_inference"]


def multi_inference(context, request, call):
    """Answers a `MultiInferenceRequest`.

    Args:
        context: `ServingContext`.
        request: `MultiInferenceRequest`; its first task says which version answers all.
        call: `Call`.

    Returns:
        `MultiInferenceResponse`, with one result for each task.

    Raises:
        RequestError: for a wrong request, no room, a deadline that is over or a client that is gone.
        tf.errors.OpError: from the graph.
    """
    with reporting(context, call, "MultiInference") as report:
        report.request = request
        spec = request.tasks[0].model_spec if request.tasks else ModelSpec()
        with leased(context, spec, report) as servable:
            runs = _plan(request.tasks, servable, context.options.signature_method_name_check)
            inputs = {INPUTS: read_examples(request.input)}
            rows = len(inputs[INPUTS])
            results = run_admitted(context, servable, runs, inputs, call, report)
            response = report.response = MultiInferenceResponse()
            for task, outputs in zip(request.tasks, results, strict=True):
                result = response.results.add()
                fill_spec(result.model_spec, servable, task.model_spec.name, task.model_spec.signature_name)
                if task.method_name == CLASSIFY:
                    fill_classifications(result.classification_result, outputs, rows)
                else:
                    fill_regressions(result.regression_result, outputs, rows)
            return response


def _plan(tasks, servable, check_method_name):
    """Checks the tasks; gives the signatures to run and the outputs to fetch from each."""
    runs, model_name = {}, tasks[0].model_spec.name
    for task in tasks:
        if not task.model_spec.name:
            raise invalid_argument("Found ModelSpec with an empty model name.")
        if task.model_spec.name != model_name:
            raise invalid_argument("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        name = signature_name_of(task.model_spec)
        if name in runs:
            raise invalid_argument(f"Duplicate evaluation of signature: {name}")
        if name not in servable.signatures:
            raise invalid_argument(f"Requested signature not found in model graph: {name}")
        if task.method_name not in (CLASSIFY, REGRESS):
            message = f"Unsupported signature method_name: {task.method_name}"
            raise RequestError(grpc.StatusCode.UNIMPLEMENTED, message)
        check = check_classification if task.method_name == CLASSIFY else check_regression
        runs[name] = check(servable, name, check_method_name)
    return list(runs.items())
