import numpy as np
import tensorflow as tf

from lts_keras.prediction.answer import restore_answer


def test_answer_by_hand_on_a_wide_photo():
    # A 32 x 64 photo in a square of 64: rows 16 to 48. Mask cells of 4 pixels, prior cells of 8.
    mask = np.zeros((16, 16, 1), "float32")
    mask[6:10, 4:8] = 0.9
    prior = np.full((8, 8, 1), -3.0, "float32")
    prior[3, 2] = 2.0
    prior[0, 0] = 9.0  # in the grey above the photo: no answer
    answer = restore_answer(tf.constant(mask), tf.constant(prior), 32, 64, 64, 0.25)
    assert answer["mask"].shape == (32, 64)
    x0, y0, x1, y1 = answer["box"].numpy()
    # The borders move by less than a cell with the bilinear step.
    assert abs(x0 - 16) <= 2 and abs(x1 - 32) <= 2 and abs(y0 - 8) <= 2 and abs(y1 - 24) <= 2
    inside = answer["mask"].numpy()
    outside = inside.copy()
    outside[y0:y1, x0:x1] = False
    assert inside[9:23, 17:31].all() and not outside.any()
    assert answer["point"].numpy().tolist() == [20, 12]
    assert 0.25 < float(answer["score"]) <= 0.9


def test_nothing_found_is_zeros():
    answer = restore_answer(tf.zeros((16, 16, 1)), tf.zeros((8, 8, 1)), 5, 7, 64, 0.25)
    assert not answer["mask"].numpy().any()
    assert float(answer["score"]) == 0.0
    assert answer["box"].numpy().tolist() == [0, 0, 0, 0]


def test_a_photo_thinner_than_a_cell_has_its_point_inside():
    for height, width in ((1, 1), (1, 400), (400, 1)):
        prior = np.random.default_rng(0).normal(size=(8, 8, 1)).astype("float32")
        answer = restore_answer(tf.ones((16, 16, 1)), tf.constant(prior), height, width, 64, 0.25)
        x, y = answer["point"].numpy()
        assert 0 <= x < width and 0 <= y < height
        assert answer["mask"].numpy().all()
