"""`resize="plain"`: the photo stretched to the whole square."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from lts_keras.config.schema import AugmentConfig
from lts_keras.data.input import augment, geometry
from lts_keras.data.input.placement import RESIZES, jitter_placement, letterbox_box, place
from lts_keras.prediction.answer import restore_answer

SIDES = st.integers(1, 300)


@given(SIDES, SIDES)
def test_the_photo_fills_the_square_whatever_its_shape(height, width):
    assert [int(side) for side in letterbox_box(height, width, 64, "plain")] == [0, 0, 64, 64]
    found = place(height, width, 64, "plain")
    assert [int(value) for value in found] == [0, 0, height, width, 0, 0, 64, 64]


def test_another_word_is_refused():
    with pytest.raises(ValueError, match="image_resize must be one of letterbox, plain. Received: 'crop'"):
        letterbox_box(3, 4, 64, "crop")


def test_no_grey_is_left_and_colours_stay_in_their_half():
    photo = np.zeros((20, 80, 3), np.uint8)
    photo[:, 40:] = 255
    square = geometry.letterbox_image(tf.constant(photo), 32, "plain").numpy()
    np.testing.assert_array_equal(square[:, :16], 0)
    np.testing.assert_array_equal(square[:, 16:], 1)
    mask = geometry.letterbox_mask(tf.constant(photo[..., 0]), 32, 4, "plain").numpy()[..., 0]
    np.testing.assert_array_equal(mask, np.repeat([[0] * 4 + [1] * 4], 8, 0))


def test_boxes_and_points_are_stretched_with_the_photo():
    # 80 x 20 to 32 x 32: x by 0.4, y by 1.6.
    np.testing.assert_allclose(geometry.letterbox_boxes([10, 5, 60, 20], 20, 80, 32, "plain"), [4, 8, 24, 32])
    np.testing.assert_allclose(geometry.letterbox_points([10, 5], 20, 80, 32, "plain"), [4, 8])
    box = geometry.letterbox_box_mask(tf.constant([10.0, 5, 60, 20]), 20, 80, 32, 4, "plain").numpy()[..., 0]
    expected = np.zeros((8, 8))
    expected[2:, 1:6] = 1
    np.testing.assert_array_equal(box, expected)
    # The centre of cell (1, 2) of stride 4 is (6, 10) in the square, (15, 6.25) in the photo.
    np.testing.assert_array_equal(geometry.restore_points([1, 2], 20, 80, 32, 4, "plain"), [15, 6])


@given(st.integers(8, 90), st.integers(8, 90), st.integers(0, 7), st.integers(0, 7))
def test_a_cell_comes_back_where_it_was(height, width, row, column):
    prior = np.zeros((8, 8, 1), np.float32)
    prior[row, column] = 1
    mask = prior.repeat(2, 0).repeat(2, 1)
    found = restore_answer(tf.constant(mask), tf.constant(prior), height, width, 64, 0.25, "plain")
    x, y = found["point"].numpy()
    assert (x, y) == ((column + 0.5) * width // 8, (row + 0.5) * height // 8)
    rows, columns = np.nonzero(found["mask"].numpy())
    assert abs(rows.mean() + 0.5 - (row + 0.5) * height / 8) < height / 16 + 1
    assert abs(columns.mean() + 0.5 - (column + 0.5) * width / 8) < width / 16 + 1


@given(
    SIDES, SIDES, st.floats(0.5, 2.0), st.tuples(st.floats(0, 1), st.floats(0, 1)), st.sampled_from(RESIZES), st.data()
)
def test_what_must_stay_visible_does(height, width, factor, where, resize, data):
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    found = jitter_placement(height, width, 64, factor, tf.constant(where), tf.constant([x0, y0, x1, y1]), resize)
    assert int(found.crop_top) <= y0 and y1 <= int(found.crop_top + found.crop_height) <= height
    assert int(found.crop_left) <= x0 and x1 <= int(found.crop_left + found.crop_width) <= width
    assert 0 <= int(found.top) and int(found.top + found.height) <= 64
    assert 0 <= int(found.left) and int(found.left + found.width) <= 64


def test_without_jitter_augmentation_places_as_asked():
    draws = augment.draw(tf.constant([1, 2], tf.int64), 1, AugmentConfig())
    found = augment.jittered_placement(20, 80, 64, tf.zeros((1, 4)), draws, AugmentConfig(), "plain")
    assert [int(value) for value in found[4:]] == [0, 0, 64, 64]
