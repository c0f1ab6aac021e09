"""One small house of models that are none of ours, for the tests that only ask."""

import pytest
import tensorflow as tf
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from serving.core.limits import Limits
from tests.serving.houses import open_house
from tests.serving.other_models import write_half_plus_two, write_odd_dtypes


@pytest.fixture(scope="session")
def bases(half_plus_two, tmp_path_factory):
    """Folders of versions: `default` (half plus two as version 123, half plus three as 124) and `odd`."""
    base = tmp_path_factory.mktemp("bases")
    for name in ("default", "odd"):
        (base / name).mkdir()
    (base / "default" / "123").symlink_to(half_plus_two)
    write_half_plus_two(base / "default" / "124", offset=3.0)
    write_odd_dtypes(base / "odd" / "1")
    return {name: base / name for name in ("default", "odd")}


@pytest.fixture(scope="session")
def house(bases):
    """The newest version of each model of `bases`."""
    with open_house(bases) as opened:
        yield opened


@pytest.fixture(scope="session")
def predictions(house):
    """TensorFlow Serving's own stub."""
    return prediction_service_pb2_grpc.PredictionServiceStub(house.channel)


@pytest.fixture(scope="session")
def models(house):
    """TensorFlow Serving's own stub."""
    return model_service_pb2_grpc.ModelServiceStub(house.channel)


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def ask(words_model):
    """TensorFlow Serving's own stub, for a house of that model."""
    with open_house({"words": words_model}, Limits(max_rows=64)) as house:
        yield prediction_service_pb2_grpc.PredictionServiceStub(house.channel)
