import dataclasses

import numpy as np
import pytest

from pipelines import infra_validate
from pipelines.stages import StageError


@dataclasses.dataclass(frozen=True)
class Answer:
    mask: np.ndarray
    score: float = 0.5
    presence: float | None = 0.9


class Answers:
    """Gives the same answer to everything, as a client and as a predictor."""

    def __init__(self, answer):
        self.answer = answer

    def segment(self, image_bytes, expressions):
        return [self.answer] * len(expressions)

    predict_many = segment


def masked(pixels, shape=(200, 200)):
    mask = np.zeros(shape, bool)
    mask.ravel()[:pixels] = True
    return mask


def compare(served, expected):
    return infra_validate.compare(Answers(served), Answers(expected), [(b"photo", ["a", "b"]), (b"other", ["c"])])


def test_equal_answers_are_counted():
    log = compare(Answer(masked(50)), Answer(masked(50)))
    assert (log["photos"], log["expressions"], log["pixels"], log["different_pixels"]) == (2, 3, 120000, 0)


def test_a_pixel_on_the_threshold_may_fall_on_either_side():
    assert compare(Answer(masked(51)), Answer(masked(50)))["different_pixels"] == 3


@pytest.mark.parametrize(
    ("served", "message"),
    [
        (Answer(masked(80)), "30 of 40000 pixels differ"),
        (Answer(masked(50, (100, 400))), r"mask of \(100, 400\) instead of \(200, 200\)"),
        (Answer(masked(50), score=0.51), "score 0.51 instead of 0.5"),
        (Answer(masked(50), presence=0.8), "presence 0.8 instead of 0.9"),
        (Answer(masked(50), presence=None), "presence None instead of 0.9"),
    ],
)
def test_other_answers_end_the_run(served, message):
    with pytest.raises(StageError, match=message):
        compare(served, Answer(masked(50)))
