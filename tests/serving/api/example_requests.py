"""Requests of Classify, Regress and MultiInference, as TensorFlow Serving's own messages."""

from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

from tests.serving.asking import add_example

__all__ = ["classification", "multi", "regression"]


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
