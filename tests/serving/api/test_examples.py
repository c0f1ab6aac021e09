"""Classify and Regress: TensorFlow Serving's words and codes, with its own messages."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_service_pb2_grpc

from tests.serving.api.example_requests import classification, regression
from tests.serving.asking import add_example, refused
from tests.serving.houses import open_house

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def scores_of(response):
    return [[entry.score for entry in one.classes] for one in response.result.classifications]


def test_every_example_gets_a_row(predictions):
    response = predictions.Classify(classification(values=(2.0, 4.0, -2.0)))
    assert scores_of(response) == [[4.0], [5.0], [2.0]]
    response = predictions.Regress(regression(values=(2.0, 4.0)))
    assert [one.value for one in response.result.regressions] == [4.0, 5.0]
    assert response.model_spec.version.value == 124


def test_an_example_has_the_features_of_the_context_beside_its_own(predictions):
    request = regression(values=())
    rows = request.input.example_list_with_context
    rows.context.features.feature["x"].float_list.value.append(6.0)
    rows.context.features.feature["unused"].float_list.value.append(1.0)
    rows.examples.add()
    add_example(rows.examples, x=2.0)
    response = predictions.Regress(request)
    assert [one.value for one in response.result.regressions] == [6.0, 4.0]
    del rows.examples[:]
    refused(predictions.Regress, request, "INVALID_ARGUMENT", "Input is empty.")


def test_classes_scores_or_both(ask):
    sizes = [len(tf.train.Example().SerializeToString()), 17]
    request = classification("both", "words", ())
    request.input.example_list.examples.add()
    add_example(request.input.example_list.examples, xyz=1.0)
    response = ask.Classify(request)
    sizes[1] = len(request.input.example_list.examples[1].SerializeToString())
    found = [[(entry.label, entry.score) for entry in one.classes] for one in response.result.classifications]
    assert [[score for _, score in row] for row in found] == [[size, size + 0.5] for size in sizes]
    assert [row[1][0] for row in found] == ["näm"] * 2
    request.model_spec.signature_name = "classes"
    labels = [[entry.label for entry in one.classes] for one in ask.Classify(request).result.classifications]
    assert labels[0] == ["", "näm"]
    request.model_spec.signature_name = ""
    response = ask.Classify(request)
    assert scores_of(response) == [[size, size + 0.5] for size in sizes]
    assert response.model_spec.signature_name == ""  # as the request said it


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        ("nothing", "No signature was found with the name: nothing"),
        ("two_inputs", "Expected one input Tensor."),
        ("three", "Expected one or two output Tensors, found 3"),
        ("no_inputs", "No classification inputs found in SignatureDef:"),
        ("other", 'Expected classification signature outputs to contain at least one of "classes" or "scores".'),
        ("flat", "Expected Tensor shape: [batch_size num_classes] but got [3]"),
        ("double", "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
        ("numbers", "Expected classes Tensor of DT_STRING. Got: DT_FLOAT"),
        ("half", "Expected scores output batch size of 3. Got: 2"),
        ("unequal", "Tensors class and score should match in dim_size(1). Got 2 vs. 1"),
    ],
)
def test_signatures_that_do_not_classify(ask, signature, words):
    request = classification(signature, "words", (1.0, 2.0, 3.0))
    refused(ask.Classify, request, "INVALID_ARGUMENT", words)


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        ("nothing", "No signature was found with the name: nothing"),
        ("two_inputs", "Expected one input Tensor."),
        ("both", "Expected one output Tensor."),
        ("no_inputs", "No regression inputs found in SignatureDef:"),
        ("other", "No regression outputs found in SignatureDef:"),
        ("wide", "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [3,2]"),
        ("short", "Input batch size did not match output batch size: 3 vs. 2"),
        ("whole", "Expected output Tensor of DT_FLOAT. Got: DT_INT32"),
    ],
)
def test_signatures_that_do_not_regress(ask, signature, words):
    refused(ask.Regress, regression(signature, "words", (1.0, 2.0, 3.0)), "INVALID_ARGUMENT", words)


def test_a_column_is_a_regression(ask):
    request = regression("column", "words", (1.0, 2.0))
    size = len(request.input.example_list.examples[0].SerializeToString())
    assert [one.value for one in ask.Regress(request).result.regressions] == [size, size]


def test_a_method_name_is_asked_for_only_where_an_option_says_so(predictions, bases):
    with open_house({"default": bases["default"]}, signature_method_name_check=True) as house:
        strict = prediction_service_pb2_grpc.PredictionServiceStub(house.channel)
        expected = f"Expected classification signature method_name to be {CLASSIFY}. Was: {REGRESS}"
        refused(strict.Classify, classification("regress_x_to_y"), "INVALID_ARGUMENT", expected)
        expected = f"Expected regression signature method_name to be {REGRESS}. Was: {CLASSIFY}"
        refused(strict.Regress, regression("classify_x_to_y"), "INVALID_ARGUMENT", expected)
        assert strict.Regress(regression()).result.regressions[0].value == 4.0
    expected = 'Expected classification signature outputs to contain at least one of "classes" or "scores".'
    refused(predictions.Classify, classification("regress_x_to_y"), "INVALID_ARGUMENT", expected)


def test_requests_without_a_model_examples_or_features(predictions):
    for method, make in ((predictions.Classify, classification), (predictions.Regress, regression)):
        request = make()
        request.ClearField("model_spec")
        refused(method, request, "INVALID_ARGUMENT", "Missing ModelSpec")
        refused(method, make(model="other"), "NOT_FOUND", "Servable not found for request: Latest(other)")
        refused(method, make(values=()), "INVALID_ARGUMENT", "Input is empty.")
        request = make()
        request.ClearField("input")
        refused(method, request, "INVALID_ARGUMENT", "Input is empty.")
        request = make(values=())
        request.input.example_list.examples.add()
        refused(method, request, "INVALID_ARGUMENT", "Feature: x (data type: float) is required")
    refused(predictions.Regress, regression("regress_x2_to_y3"), "INVALID_ARGUMENT", "expects float")


def test_more_examples_than_a_request_may_have(ask):
    assert len(ask.Regress(regression("column", "words", np.zeros(64))).result.regressions) == 64
    refused(ask.Regress, regression("column", "words", np.zeros(65)), "RESOURCE_EXHAUSTED", "65 rows")
