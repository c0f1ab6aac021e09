import keras
import numpy as np
import pytest
import tensorflow as tf

from lts_keras.export.folding import find_pairs
from lts_keras.export.served_network import served_network
from lts_keras.layers.darknet import darknet53
from lts_keras.models.variants import make_lts
from lts_keras.prediction.network import network_function
from tests.small_models import small_model


def batch_norm(name):
    return keras.layers.BatchNormalization(
        name=name, gamma_initializer=keras.initializers.RandomUniform(0.5, 2, seed=1), beta_initializer="random_normal"
    )


def many_kinds():
    """A backbone with each kind of layer that a batch norm can follow, and some that it must not be folded into."""
    layers = keras.layers
    image = x = keras.Input((None, None, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="plain")(x)
    x = layers.ReLU()(batch_norm("plain_norm")(x))
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2, name="depthwise")(x)
    x = layers.ReLU()(batch_norm("depthwise_norm")(x))
    x = layers.SeparableConv2D(12, 3, strides=2, padding="same", bias_initializer="random_normal", name="separable")(x)
    c3 = x = layers.ReLU()(batch_norm("separable_norm")(x))
    # Each of these is read twice, or is not linear.
    read_twice = layers.Conv2D(12, 1, name="read_twice")(x)
    x = layers.Add()([read_twice, batch_norm("read_twice_norm")(read_twice)])
    x = batch_norm("activated_norm")(layers.Conv2D(12, 3, strides=2, padding="same", activation="relu")(x))
    c4 = x = batch_norm("alone")(x)
    x = layers.Conv2DTranspose(6, 2, strides=2, name="transposed", bias_initializer="random_normal")(x)
    x = layers.ReLU()(batch_norm("transposed_norm")(x))
    x = layers.Dense(7, name="dense")(layers.AveragePooling2D(4)(x))
    c5 = batch_norm("dense_norm")(x)
    return keras.Model(image, {"c3": c3, "c4": c4, "c5": c5}, name="many_kinds")


def darknet():
    return darknet53(extra_convs=True, width=4, num_units=(1, 0, 1, 1, 0))


def lively(model):
    """The same model with statistics that are those of some data, not of none."""
    random = np.random.default_rng(0)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(random.normal(0, 0.3, layer.moving_mean.shape))
            layer.moving_variance.assign(random.uniform(0.2, 3, layer.moving_variance.shape))
    return model


def answers(model, rows=3):
    random = np.random.default_rng(0)
    image = tf.constant(random.random((rows, 64, 64, 3), "float32"))
    token_ids = random.integers(1, model.vocabulary_size, (rows, model.max_tokens)).astype("int32")
    token_ids[0] = 0
    return [output.numpy() for output in tf.function(network_function(model))(image, tf.constant(token_ids))]


@pytest.mark.parametrize(
    ("backbone", "arguments"),
    [
        (darknet, {}),
        (many_kinds, {"locator": "transformer"}),
        (many_kinds, {"coordinates": True, "num_filters": 2, "aspp_rates": (1, 3, 4)}),
        (many_kinds, {"locator": None}),
        (many_kinds, {"segmentation": False}),
    ],
)
def test_the_folded_twin_answers_as_the_model(backbone, arguments):
    keras.utils.set_random_seed(0)
    options = {"image_size": 64, "vocabulary": ["the", "dog"], "max_tokens": 5, "gru_units": 8, "joint_dim": 16}
    options |= {"fusion_dim": 16, "aspp_dim": 8, "trainable_backbone": "all"}
    model = lively(make_lts(backbone=backbone(), **(options | arguments)))
    expected = answers(model)
    found = answers(served_network(model))
    for one, other in zip(found, expected, strict=True):
        assert other.std() > 1e-3  # an answer that says something
        np.testing.assert_allclose(one, other, atol=1e-5)
    for one, other in zip(answers(model), expected, strict=True):
        np.testing.assert_array_equal(one, other)  # the model itself stays as it was


def test_only_what_a_batch_norm_alone_reads_is_folded():
    names = [norm.name for _, norm in find_pairs(many_kinds())]
    assert names == ["plain_norm", "depthwise_norm", "separable_norm", "transposed_norm", "dense_norm"]


def test_a_folded_graph_has_no_batch_norm_and_no_split_kernels():
    model = served_network(lively(small_model()))
    spec = [tf.TensorSpec((None, 64, 64, 3)), tf.TensorSpec((None, 6), tf.int32)]
    graph = tf.function(network_function(model)).get_concrete_function(*spec).graph
    kinds = {operation.type for operation in graph.get_operations()}
    assert not kinds & {"FusedBatchNormV3", "Conv2DBackpropInput"}
    splits = [
        operation.inputs[-2 if operation.type == "SplitV" else -1]
        for operation in graph.get_operations()
        if operation.type in ("Split", "SplitV")
    ]
    assert all(value.shape.rank != 4 for value in splits)


def test_bfloat16_keeps_logits_in_float32_and_weights_in_16_bits():
    model = lively(small_model())
    twin = served_network(model, "bfloat16")
    expected, found = answers(model), answers(twin)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == "float32"
        np.testing.assert_allclose(one, other, atol=0.03)
    assert np.abs(found[0] - expected[0]).max() > 1e-5
    spec = [tf.TensorSpec((None, 64, 64, 3)), tf.TensorSpec((None, 6), tf.int32)]
    graph = tf.function(network_function(twin)).get_concrete_function(*spec).graph
    kinds = {operation.type: operation.inputs[0].dtype for operation in graph.get_operations() if operation.inputs}
    assert kinds["Conv2D"] == tf.bfloat16
    stored = {variable.dtype: 0 for variable in graph.variables}
    for variable in graph.variables:
        stored[variable.dtype] += int(tf.size(variable))
    encoder = sum(int(tf.size(weight)) for weight in model.sentence_encoder.weights)
    locator = sum(int(tf.size(weight)) for weight in model.locator.weights)
    assert stored[tf.float32] <= encoder + locator < sum(stored.values())
