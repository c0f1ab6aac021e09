"""MultiInference: TensorFlow Serving's words and codes, with its own messages."""

import pytest

from tests.serving.api.example_requests import multi
from tests.serving.asking import refused


def test_one_set_of_examples_through_several_signatures(predictions):
    request = multi(
        ("regress_x_to_y", "regress"), ("classify_x_to_y", "classify"), ("regress_x_to_y2", "regress"), values=(2, 4)
    )
    first, second, third = predictions.MultiInference(request).results
    assert [one.value for one in first.regression_result.regressions] == [4.0, 5.0]
    assert [one.classes[0].score for one in second.classification_result.classifications] == [4.0, 5.0]
    assert [one.value for one in third.regression_result.regressions] == [4.0, 5.0]
    assert [one.model_spec.signature_name for one in (first, second, third)] == [
        task.model_spec.signature_name for task in request.tasks
    ]
    assert {one.model_spec.version.value for one in (first, second, third)} == {124}


def test_signatures_of_tensorflow_2_that_each_have_an_entrance_of_their_own(ask):
    request = multi(("column", "regress", "words"), ("serving_default", "classify", "words"), values=(1.0, 2.0))
    size = len(request.input.example_list.examples[0].SerializeToString())
    first, second = ask.MultiInference(request).results
    assert [one.value for one in first.regression_result.regressions] == [size, size]
    assert [[entry.score for entry in one.classes] for one in second.classification_result.classifications] == [
        [size, size + 0.5]
    ] * 2


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (multi(), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (multi(("regress_x_to_y", "regress", "other")), "NOT_FOUND", "Servable not found for request: Latest(other)"),
        (
            multi(("regress_x_to_y", "regress"), ("classify_x_to_y", "classify", "")),
            "INVALID_ARGUMENT",
            "Found ModelSpec with an empty model name.",
        ),
        (
            multi(("regress_x_to_y", "regress"), ("classify_x_to_y", "classify", "other")),
            "INVALID_ARGUMENT",
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        (
            multi(("regress_x_to_y", "regress"), ("regress_x_to_y", "regress")),
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: regress_x_to_y",
        ),
        (multi(("no", "regress")), "INVALID_ARGUMENT", "Requested signature not found in model graph: no"),
        (
            multi(("regress_x_to_y", "predict")),
            "UNIMPLEMENTED",
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
        (
            multi(("regress_x_to_y", "regress"), ("regress_x2_to_y3", "regress")),
            "INVALID_ARGUMENT",
            'input "inputs" expects float but string is provided',
        ),
        (multi(("regress_x_to_y", "classify")), "INVALID_ARGUMENT", "Expected classification signature outputs to"),
        (multi(("regress_x_to_y", "regress"), values=()), "INVALID_ARGUMENT", "Input is empty."),
    ],
)
def test_tasks_that_do_not_fit_together(predictions, request_, code, words):
    refused(predictions.MultiInference, request_, code, words)
