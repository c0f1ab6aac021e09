"""Requests as TensorFlow Serving's own messages, and how a refusal is checked."""

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

__all__ = ["add_example", "predict_request", "refused"]


def predict_request(model, inputs=(), signature="", outputs=(), version=None, label=None):
    """A `PredictRequest`; inputs are what `tf.make_tensor_proto` takes, or protos."""
    request = predict_pb2.PredictRequest(output_filter=outputs)
    request.model_spec.name, request.model_spec.signature_name = model, signature
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    for name, value in dict(inputs).items():
        is_proto = hasattr(value, "tensor_shape")
        request.inputs[name].CopyFrom(value if is_proto else tf.make_tensor_proto(value))
    return request


def add_example(examples, **features):
    """Adds a `tf.Example` whose features are floats."""
    example = examples.add()
    for name, value in features.items():
        example.features.feature[name].float_list.value.append(value)
    return example


def refused(method, request, code, *words):
    """Sees that a request is refused with a code and one line that has the words; returns the line."""
    with pytest.raises(grpc.RpcError) as refusal:
        method(request, timeout=30)
    details = refusal.value.details()
    assert (refusal.value.code(), "\n" in details) == (grpc.StatusCode[code], False), details
    for word in words:
        assert word in details, details
    return details
