"""Operations against sums by hand, parameters against the layers."""

import keras
import pytest
import tensorflow as tf

from lts_keras.layers.segmentation_head import SegmentationHead
from lts_keras.models.cost import count_flops, count_parameters, graph_flops
from lts_keras.models.refiner import Refiner
from tests.small_models import small_model


def spec(*shape):
    return tf.TensorSpec(shape)


def test_convolutions_and_products_by_hand():
    conv = keras.layers.Conv2D(5, 3, strides=2, padding="same", use_bias=False)
    conv.build((None, None, None, 4))
    # 4 x 3 outputs of 5 channels, each over 3 x 3 x 4 values, a multiply and an add.
    assert graph_flops(conv, spec(1, 8, 6, 4)) == 2 * (4 * 3 * 5) * (3 * 3 * 4)
    transposed = keras.layers.Conv2DTranspose(5, 4, strides=2, padding="same", use_bias=False)
    transposed.build((None, None, None, 4))
    # 8 x 6 inputs of 4 channels, each spread over 4 x 4 x 5 values.
    assert graph_flops(transposed, spec(1, 8, 6, 4)) == 2 * (8 * 6 * 4) * (4 * 4 * 5)
    assert graph_flops(tf.matmul, spec(2, 3, 4), spec(2, 4, 5)) == 2 * 2 * 3 * 4 * 5
    assert graph_flops(lambda a, b: tf.matmul(a, b, transpose_a=True), spec(4, 3), spec(4, 5)) == 2 * 3 * 4 * 5
    assert graph_flops(lambda a, b: tf.einsum("bij,bjk->bik", a, b), spec(2, 3, 4), spec(2, 4, 5)) == 2 * 2 * 3 * 4 * 5


def test_the_whole_aspp_by_hand():
    head = SegmentationHead(aspp_dim=6, rates=(2, 4))
    head.build((None, None, None, 10), (None, None, None, 1))
    size, into, width = 16 * 16, 10 + 1, 6
    branches = size * into * width * (1 + 9 + 9) + into * width  # the pooled branch has one position
    project, upsample, score = size * 4 * width * width, size * width * 16 * width, 4 * size * width
    expected = 2 * (branches + project + upsample + score)
    assert graph_flops(head, spec(1, 16, 16, 10), spec(1, 16, 16, 1)) == expected
    found = count_flops(Refiner(10, aspp_dim=6, aspp_rates=(2, 4)), image_size=128)
    assert found == {"segmentation_head": {"image": 0, "sentence": expected, "literal": expected}}


@pytest.fixture(scope="module")
def model():
    return small_model(aspp_rates=(2, 4))


def test_each_box_of_a_small_model_by_hand(model):
    found = count_flops(model)
    # 64 x 64: c5 2 x 2 x 40, c4 4 x 4 x 32, c3 8 x 8 x 24; joint and fusion 16 wide, sentence 2 x 8.
    widths, sides, into, backbone = (8, 16, 24, 32, 40), (32, 16, 8, 4, 2), 3, 0
    for width, side in zip(widths, sides, strict=True):
        backbone, into = backbone + 2 * side * side * 9 * into * width, width
    assert found["backbone"] == {"image": backbone, "sentence": 0, "literal": backbone}
    # Two directions, six words, three gates of 8 units from 8 values of the word and 8 of the state.
    gru = 2 * 2 * 6 * 3 * 8 * (8 + 8)
    assert found["sentence_encoder"] == {"image": 0, "sentence": gru, "literal": gru}
    dense = 2 * 16 * 16  # the sentence's projection
    image = 2 * (4 * 40 * 16 + 16 * 32 * 16 + 16 * 16 * 16 + 64 * 24 * 16)
    assert found["fusion"]["image"] == image
    # Equation 7's left branches at a quarter of the positions.
    assert found["fusion"]["sentence"] == dense + 2 * (4 * 16 * 16 + 4 * 16 * 16)
    literal = dense + 2 * (4 * 40 * 16 + 16 * 16 * 16 + 16 * 32 * 16 + 64 * 32 * 16 + 64 * 24 * 16)
    assert found["fusion"]["literal"] == literal
    kernel = 2 * 16 * 32
    assert found["locator"]["literal"] == kernel + 2 * 64 * 32
    assert found["locator"]["sentence"] == kernel + 2 * (16 * 16 + 64 * 16)


def test_more_words_cost_the_sentence_alone(model):
    short, long = count_flops(model, num_tokens=3), count_flops(model, num_tokens=6)
    assert 2 * short["sentence_encoder"]["sentence"] == long["sentence_encoder"]["sentence"]
    assert {**short, "sentence_encoder": 0} == {**long, "sentence_encoder": 0}


def test_parameters_of_all_boxes_are_those_of_the_model(model):
    found = count_parameters(model)
    assert sum(box["trainable"] + box["frozen"] for box in found.values()) == model.count_params()
    assert found["sentence_encoder"]["trainable"] == 10 * 8 + 2 * (3 * 8 * (8 + 8) + 2 * 3 * 8)
    # One batch norm's statistics in each of the two directions' stead: the backbone here has none.
    assert found["backbone"]["frozen"] == 0 and found["fusion"]["frozen"] == 2 * (6 * 16)
