import numpy as np
import tensorflow as tf

from lts_keras.prediction.answer import restore_answer, restore_answers
from lts_keras.prediction.presence import Presence


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


def test_presence_by_hand_and_an_absent_object_is_an_empty_mask():
    # A 32 x 64 photo in a square of 64; the largest values lie in the grey, which the photo does not have.
    mask, prior = np.full((2, 16, 16, 1), 0.1, "float32"), np.full((2, 8, 8, 1), 0.2, "float32")
    mask[:, 0], prior[:, 0] = 0.99, 0.99
    mask[0, 6:10, 4:12], prior[1, 3, 3] = 0.8, 0.6
    arguments = (tf.constant(mask), tf.constant(prior), 32, 64, 64, 0.05)
    plain = restore_answers(*arguments)
    np.testing.assert_allclose(plain["presence"], [0.8, 0.1], atol=1e-5)
    assert plain["mask"].numpy().all()
    calibrated = restore_answers(*arguments, presence=Presence(0.5, 2.0, -1.0, threshold=0.5))
    # Of 0.8 and 0.2: sigmoid(0.5 + 2 * 1.3863 + 1.3863); of 0.1 and 0.6: sigmoid(0.5 - 2 * 2.1972 - 0.4055).
    expected = [1 / (1 + np.exp(-4.6589)), 1 / (1 + np.exp(4.2999))]
    np.testing.assert_allclose(calibrated["presence"], expected, rtol=1e-3)
    assert calibrated["mask"][0].numpy().all() and not calibrated["mask"][1].numpy().any()
    assert float(calibrated["score"][1]) == 0 and calibrated["box"][1].numpy().tolist() == [0, 0, 0, 0]
    assert calibrated["point"][1].numpy().tolist() == plain["point"][1].numpy().tolist()


def test_many_answers_are_those_of_one_at_a_time():
    rng = np.random.default_rng(0)
    mask, prior = rng.random((5, 16, 16, 1), "float32"), rng.random((5, 8, 8, 1), "float32")
    mask[2] = 0
    for height, width in ((33, 50), (3, 5), (90, 20)):
        many = restore_answers(tf.constant(mask), tf.constant(prior), height, width, 64, 0.7)
        for row in range(5):
            one = restore_answer(tf.constant(mask[row]), tf.constant(prior[row]), height, width, 64, 0.7)
            for name, value in one.items():
                np.testing.assert_allclose(many[name][row], value, rtol=1e-6, err_msg=name)
