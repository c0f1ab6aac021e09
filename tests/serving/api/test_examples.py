"""Classify, Regress and MultiInference: TensorFlow Serving's words and codes, with its own messages."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, inference_pb2, prediction_service_pb2_grpc, regression_pb2

from serving.core.limits import Limits
from tests.serving.asking import add_example, refused
from tests.serving.houses import open_house

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def classification(signature="classify_x_to_y", model="default", values=(2.0,)):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for value in values:
        add_example(request.input.example_list.examples, x=value)
    return request


def regression(signature="regress_x_to_y", model="default", values=(2.0,)):
    request = regression_pb2.RegressionRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for value in values:
        add_example(request.input.example_list.examples, x=value)
    return request


def multi(*tasks, values=(2.0,)):
    """Tasks are pairs of a signature and the end of a method's name, or triples with a model."""
    request = inference_pb2.MultiInferenceRequest()
    for signature, method, *model in tasks:
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = (*model, "default")[0], signature
    for value in values:
        add_example(request.input.example_list.examples, x=value)
    return request


@pytest.fixture(scope="module")
def words_model(tmp_path_factory):
    """Folder of versions of a model of many odd signatures over serialized examples; `inputs` is any string tensor."""
    base = tmp_path_factory.mktemp("words")
    module = tf.Module()
    text = [tf.TensorSpec([None], tf.string, name="inputs")]

    def signature(**outputs):
        return tf.function(lambda inputs: {name: make(inputs) for name, make in outputs.items()}, input_signature=text)

    def names(inputs):
        return tf.stack([inputs, tf.fill(tf.shape(inputs), "näm")], axis=1)

    def lengths(inputs):
        return tf.cast(tf.strings.length(inputs), tf.float32)

    def pairs(inputs):
        return tf.stack([lengths(inputs), lengths(inputs) + 0.5], axis=1)

    signatures = {
        "both": signature(classes=names, scores=pairs),
        "classes": signature(classes=names),
        "serving_default": signature(scores=pairs),
        "unequal": signature(classes=names, scores=lambda x: pairs(x)[:, :1]),
        "flat": signature(scores=lengths),
        "double": signature(scores=lambda x: tf.cast(pairs(x), tf.float64)),
        "numbers": signature(classes=pairs),
        "half": signature(scores=lambda x: pairs(x)[::2]),
        "other": signature(other=lengths),
        "three": signature(classes=names, scores=pairs, more=lengths),
        "column": signature(outputs=lambda x: lengths(x)[:, None]),
        "wide": signature(outputs=pairs),
        "short": signature(outputs=lambda x: lengths(x)[1:]),
        "whole": signature(outputs=lambda x: tf.strings.length(x)),
        "two_inputs": tf.function(
            lambda inputs, more: {"scores": pairs(inputs), "outputs": lengths(more)},
            input_signature=[*text, tf.TensorSpec([None], tf.string, name="more")],
        ),
        "no_inputs": tf.function(
            lambda examples: {"outputs": lengths(examples)},
            input_signature=[tf.TensorSpec([None], tf.string, name="examples")],
        ),
    }
    tf.saved_model.save(module, str(base / "1"), signatures=signatures)
    return base


@pytest.fixture(scope="module")
def ask(words_model):
    """TensorFlow Serving's own stub, for a house of that model."""
    with open_house({"words": words_model}, Limits(max_rows=64)) as house:
        yield prediction_service_pb2_grpc.PredictionServiceStub(house.channel)


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
            'input "inputs" expects float',
        ),
        (multi(("regress_x_to_y", "classify")), "INVALID_ARGUMENT", "Expected classification signature outputs to"),
        (multi(("regress_x_to_y", "regress"), values=()), "INVALID_ARGUMENT", "Input is empty."),
    ],
)
def test_tasks_that_do_not_fit_together(predictions, request_, code, words):
    refused(predictions.MultiInference, request_, code, words)
