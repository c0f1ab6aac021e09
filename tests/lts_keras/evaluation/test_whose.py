"""Whose mask an answer is."""

import numpy as np
import pytest

from lts_keras.evaluation.whose import whose_answer

MEANT, RIVAL, CAT = np.array([[0.0, 0, 4, 4], [4, 0, 8, 4], [0, 4, 4, 8]])


def answer(*boxes):
    mask = np.zeros((8, 12), bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "found"),
    [
        (answer(), "nothing"),
        (answer((0, 0, 4, 4)), "right"),
        (answer((1, 0, 6, 4)), "right"),  # 12 of 24 pixels against 8 of 28
        (answer((2, 0, 6, 4)), "right"),  # as much of one as of the other
        (answer((3, 0, 7, 4)), "rival"),
        (answer((0, 3, 4, 7)), "other"),
        (answer((8, 0, 12, 8)), "background"),
        (answer((3, 3, 4, 4), (8, 4, 12, 8)), "background"),  # 1 of 32 pixels
    ],
)
@pytest.mark.parametrize("as_bytes", [True, False])
def test_the_object_with_the_largest_overlap(mask, found, as_bytes):
    names = ["dog", "dog", "cat"]
    names = [name.encode() for name in names] if as_bytes else names
    assert whose_answer(mask, MEANT, names[0], np.stack([MEANT, RIVAL, CAT]), names) == found


def test_without_a_class_or_a_target_there_are_no_rivals():
    boxes = np.stack([MEANT, RIVAL])
    assert whose_answer(answer((4, 0, 8, 4)), MEANT, "", boxes, ["", ""]) == "other"
    assert whose_answer(answer((4, 0, 8, 4)), None, "dog", boxes, ["dog", "dog"]) == "other"
    assert whose_answer(answer(), None, "", boxes, ["dog", "dog"]) == "nothing"


@pytest.mark.parametrize("as_bytes", [True, False])
def test_one_of_several_that_are_meant_is_right(as_bytes):
    names = ["dog and cat", "dog", "cat", "bird", "dog"]
    meant, *names = [name.encode() for name in names] if as_bytes else names
    around, outside = np.array([0.0, 0, 8, 8]), np.array([8.0, 0, 12, 4])
    bird = np.array([4.0, 4, 8, 8])
    boxes = np.stack([MEANT, CAT, bird, outside])
    found = [whose_answer(answer(box.astype(int)), around, meant, boxes, names, True) for box in boxes]
    assert found == ["right", "right", "other", "other"]
    assert whose_answer(answer((0, 0, 8, 8)), around, meant, boxes, names, True) == "right"
    # A dog outside is a rival of dogs.
    assert whose_answer(answer((8, 0, 12, 4)), around, names[0], boxes, names, True) == "rival"
