import numpy as np
import pytest

from lts_keras.layers.coordinates import append_coordinates
from lts_keras.layers.fusion import Fusion
from tests.testing import assert_independent, check_layer

SMALL = {"joint_dim": 6, "fusion_dim": 4}


def inputs(batch=2, height=2, width=3, seed=0):
    random = np.random.default_rng(seed)
    shapes = {"c3": (batch, height * 4, width * 4, 3), "c4": (batch, height * 2, width * 2, 5)}
    shapes["c5"] = (batch, height, width, 7)
    maps = {name: random.normal(size=shape).astype("float32") for name, shape in shapes.items()}
    return {"maps": maps, "sentence": random.normal(size=(batch, 8)).astype("float32")}


def affine(array, block):
    """A 1x1 convolution or a matrix product, batch norm and LeakyReLU, with numpy."""
    kernel = (block.conv if hasattr(block, "conv") else block.dense).kernel.numpy()
    gamma, beta, mean, variance = block.norm.get_weights()
    y = (array @ kernel.reshape(kernel.shape[-2:]) - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    return np.where(y > 0, y, 0.1 * y)


def randomize(layer, seed=0):
    """Batch norm that does something, so that a test sees where it stands."""
    random = np.random.default_rng(seed)
    layer.set_weights([random.uniform(0.5, 1.5, weight.shape) * (weight + 0.1) for weight in layer.get_weights()])


@pytest.mark.parametrize("option", [{}, {"use_sentence": False}, {"coordinates": True}])
def test_is_a_sound_layer(option):
    check_layer(Fusion, SMALL | option, inputs(), (2, 8, 12, 8))


def test_coordinates_are_joined_to_every_map_in_both_forms():
    plain, placed, values = Fusion(**SMALL), Fusion(**SMALL, coordinates=True), inputs()
    positions = {name: append_coordinates(value) for name, value in values["maps"].items()}
    expected = plain(positions, values["sentence"])
    placed(**values)
    placed.set_weights(plain.get_weights())
    np.testing.assert_array_equal(placed(**values), expected)
    features = placed.encode_image(values["maps"])
    np.testing.assert_allclose(features["visual"], expected[..., 4:], rtol=1e-4, atol=1e-5)


def test_examples_do_not_touch_each_other():
    assert_independent(Fusion(**SMALL), inputs(batch=3))


def test_equations_5_to_7():
    fusion, values = Fusion(**SMALL), inputs()
    fusion(**values)
    randomize(fusion)
    maps = values["maps"]

    def twice(array):
        return array.repeat(2, axis=1).repeat(2, axis=2)

    sentence = affine(values["sentence"], fusion.sentence_projection)
    fused = affine(maps["c5"], fusion.c5_projection) * sentence[:, None, None]
    for index, name in ((1, "c4"), (2, "c3")):
        left = affine(twice(fused), getattr(fusion, f"fused{index}_projection"))
        fused = np.concatenate([left, affine(maps[name], getattr(fusion, f"{name}_projection"))], axis=-1)
    np.testing.assert_allclose(fusion(**values), fused, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_halves_are_the_literal_form(training):
    fusion, values = Fusion(**SMALL), inputs(batch=3)
    fusion(**values)
    randomize(fusion)
    weights = fusion.get_weights()
    literal = np.array(fusion(**values, training=training))
    fusion.set_weights(weights)  # training moved the statistics
    features = fusion.encode_image(values["maps"], training=training)
    joint = np.array(fusion.fuse(features, values["sentence"], training=training))
    np.testing.assert_allclose(joint.repeat(2, 1).repeat(2, 2), literal[..., :4], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(features["visual"], literal[..., 4:], rtol=1e-3, atol=1e-5)


def test_without_the_sentence_the_words_do_not_matter():
    fusion, values = Fusion(**SMALL, use_sentence=False), inputs()
    before = fusion(**values)
    np.testing.assert_array_equal(fusion(values["maps"], -values["sentence"]), before)
