"""Letterbox and way back in numpy: the numbers of the graph operations, to rounding."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lts_keras.data.input.geometry import letterbox_box, letterbox_image, restore_probabilities
from lts_keras.prediction.answer import restore_answer
from lts_keras.prediction.plain_maps import letterbox, letterbox_place, restore
from lts_keras.prediction.presence import Presence
from lts_keras.prediction.settings import ModelSettings

SIDES = st.integers(1, 300)
RESIZES = st.sampled_from(["letterbox", "plain"])


@given(height=st.integers(1, 9000), width=st.integers(1, 9000), size=st.sampled_from([64, 96, 416]), resize=RESIZES)
def test_photos_lie_where_they_lay_in_training(height, width, size, resize):
    expected = [int(side) for side in letterbox_box(height, width, size, resize)]
    assert list(letterbox_place(height, width, size, resize)) == expected


@settings(max_examples=60)
@given(height=SIDES, width=SIDES, size=st.sampled_from([32, 64, 96]), resize=RESIZES, seed=st.integers(0, 99))
@example(height=64, width=64, size=64, resize="letterbox", seed=0)
@example(height=2, width=300, size=96, resize="plain", seed=0)
@example(height=65, width=3, size=64, resize="letterbox", seed=0)
def test_squares_are_tensorflows(height, width, size, resize, seed):
    photo = np.random.default_rng(seed).integers(0, 256, (height, width, 3), "uint8")
    expected = letterbox_image(tf.constant(photo), size, resize).numpy()
    found = letterbox(photo, size, resize)
    assert found.dtype == np.float32 and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-5)


@settings(max_examples=60)
@given(
    height=SIDES,
    width=SIDES,
    size=st.sampled_from([32, 64, 96]),
    resize=RESIZES,
    seed=st.integers(0, 99),
    threshold=st.sampled_from([0.25, 0.9, 0.9999]),
    presence=st.sampled_from([None, 0.5, 0.999]),
)
def test_answers_are_the_graphs(height, width, size, resize, seed, threshold, presence):
    random = np.random.default_rng(seed)
    mask, prior = (random.random((size // stride, size // stride), dtype=np.float32) for stride in (4, 8))
    known = ModelSettings(size, resize, 5, (), threshold, Presence(-0.5, 0.7, 0.2, presence))
    maps = tf.constant(mask[..., None]), tf.constant(prior[..., None])
    expected = restore_answer(*maps, height, width, size, threshold, resize, known.presence)
    expected = {name: one.numpy() for name, one in expected.items()}
    found = restore(mask, prior, height, width, known)
    # A pixel right at the threshold may fall on either side.
    clear = np.abs(expected["probabilities"] - threshold) > 1e-5
    np.testing.assert_array_equal(found["mask"][clear], expected["mask"][clear])
    assert found["score"] == pytest.approx(expected["score"], abs=1e-4)
    assert found["presence"] == pytest.approx(expected["presence"], abs=1e-5)
    assert found["point"] == tuple(expected["point"].tolist())
    if clear.all():
        assert found["box"] == tuple(expected["box"].tolist())
    whole = restore_probabilities(maps[1], height, width, size, resize)[..., 0].numpy()
    np.testing.assert_allclose(found["prior"], whole, atol=1e-5)


def test_an_empty_mask_has_no_box():
    low = np.full((8, 8), 0.1, np.float32)
    found = restore(low, low[:4, :4], 20, 30, ModelSettings(32, "letterbox", 5, (), 0.5, Presence()))
    assert found["box"] == (0, 0, 0, 0) and found["score"] == 0.0 and not found["mask"].any()
