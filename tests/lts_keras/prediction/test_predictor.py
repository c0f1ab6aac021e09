import io

import numpy as np
import pytest
from PIL import Image

from lts_keras.data.schema import DataError
from lts_keras.prediction.network import float32_copy
from lts_keras.prediction.predictor import Predictor
from lts_keras.prediction.presence import Presence
from tests.small_models import photo_bytes, small_model


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def predictor(model):
    return model.predictor()


def test_a_photo_as_path_bytes_or_pixels_gives_the_same_answer(predictor, tmp_path):
    file = io.BytesIO()
    Image.open(io.BytesIO(photo_bytes(50, 70))).save(file, "PNG")
    (tmp_path / "photo.png").write_bytes(file.getvalue())
    pixels = np.asarray(Image.open(io.BytesIO(file.getvalue())))
    answers = [predictor(photo, "the left dog") for photo in (tmp_path / "photo.png", file.getvalue(), pixels)]
    for answer in answers:
        assert answer.mask.shape == answer.prior.shape == (50, 70)
        assert answer.mask.dtype == bool
        np.testing.assert_array_equal(answer.mask, answers[0].mask)
        assert (answer.score, answer.box, answer.point) == (answers[0].score, answers[0].box, answers[0].point)


def test_answer_is_consistent_with_its_own_mask_and_prior(predictor):
    answer = predictor(photo_bytes(), "the red circle")
    rows, columns = np.nonzero(answer.mask)
    assert answer.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert 0.5 < answer.score <= 1
    x, y = answer.point
    assert answer.prior[y, x] >= answer.prior.max() - 0.05
    assert 0 <= answer.prior.min() <= answer.prior.max() <= 1


def test_many_expressions_equal_single_ones(predictor):
    expressions = ["the left dog", "red circle", "a man on the right"] * 4
    many = predictor.predict_many(photo_bytes(), expressions)
    assert len(many) == 12
    for expression, answer in zip(expressions[:3], many[:3], strict=True):
        single = predictor(photo_bytes(), expression)
        np.testing.assert_array_equal(answer.mask, single.mask)
        assert answer.score == pytest.approx(single.score, abs=1e-5)


def test_words_that_training_never_saw_are_answered(predictor):
    assert np.isfinite(predictor(photo_bytes(), "xyzzy plugh").score)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "must not be empty"),
        ("   ", "must not be empty"),
        ("\n", "must not be empty"),
        ("?!", "must have a word in it. Received: '\\?!'"),
        ("\u200b", "must have a word in it"),
        ("— …", "must have a word in it"),
        ("dog \ud83d", "half of a character"),
    ],
)
def test_an_expression_without_a_word_is_refused_in_one_line(predictor, expression, words):
    with pytest.raises(DataError, match=words) as caught:
        predictor(photo_bytes(), expression)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("photo", "words"),
    [
        (b"", "no JPEG or PNG"),
        (b"not a photo" * 10, "no JPEG or PNG"),
        (photo_bytes()[:400], "damaged or cut short"),
        ("nowhere.jpg", "nowhere.jpg: cannot read the photo"),
        (np.zeros((4, 4), np.uint8), "uint8 .height, width, 3."),
        (np.zeros((4, 4, 3), np.float32), "Received: float32"),
    ],
)
def test_unusable_photo_is_one_clear_line(predictor, photo, words):
    with pytest.raises(DataError, match=words) as error:
        predictor(photo, "the dog")
    assert "\n" not in str(error.value)


def test_photo_above_the_limit_is_refused(model):
    limited = Predictor(model, max_photo_pixels=1000)
    with pytest.raises(DataError, match="1 to 1000 pixels"):
        limited(photo_bytes(40, 40), "the dog")


def test_model_without_vocabulary_has_no_predictor():
    with pytest.raises(ValueError, match="no vocabulary"):
        small_model(vocabulary=None, vocabulary_size=10).predictor()


def test_a_copy_in_float32_keeps_what_was_calibrated():
    model = small_model()
    model.threshold, model.presence = 0.35, Presence(0.1, 1.2, 0.3, threshold=0.6)
    copy = float32_copy(model, 96)
    assert (copy.threshold, copy.presence, copy.image_size) == (0.35, model.presence, 96)
    assert copy.predictor().presence == model.presence and small_model().presence == Presence()
