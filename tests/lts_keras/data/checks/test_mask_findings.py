import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from lts_keras.data.checks.mask_findings import box_fits, mask_findings
from lts_keras.data.prepare.masks import tight_box
from lts_keras.data.schema import Photo, ReferredObject

HEIGHT, WIDTH = 48, 64
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
THING = ((ROWS - 20) / 10) ** 2 + ((COLUMNS - 30) / 15) ** 2 < 1
BOX = tight_box(THING)


def found(mask, box=None):
    box = (box or tight_box(mask)) if mask is not None and mask.any() else box
    item = ReferredObject("1", "own", "train", ("it",), mask, box)
    return [kind for kind, _ in mask_findings(Photo("a", b"", HEIGHT, WIDTH, (item,)), item)]


def rectangle(x0, y0, x1, y1):
    return (COLUMNS >= x0) & (COLUMNS < x1) & (ROWS >= y0) & (ROWS < y1)


def test_a_sound_mask_a_box_alone_and_no_target_are_no_findings():
    assert (
        found(THING) == found(THING, BOX) == found(None, (1, 2, 3, 4)) == found(np.zeros((HEIGHT, WIDTH), bool)) == []
    )


def test_a_mask_of_the_whole_photo():
    mask = np.ones((HEIGHT, WIDTH), bool)
    assert found(mask) == ["whole_photo_masks"]
    mask[:3] = False  # 1/16 is left out: 93.75 %
    assert found(mask) == []
    mask[2] = True
    assert found(mask) == ["whole_photo_masks"]


def test_an_inverted_mask_is_found_by_its_box():
    assert found(~THING, BOX) == ["inverted_masks"]
    # In a corner, where nothing but the box tells.
    corner = rectangle(0, 0, 20, 20)
    assert found(~corner) == []
    assert found(~corner, (0, 0, 20, 20)) == ["inverted_masks"]
    # Two things; the box is around both.
    two = rectangle(10, 8, 16, 14) | rectangle(40, 30, 54, 40)
    assert found(~two) == []
    assert found(~two, (10, 8, 54, 40)) == ["inverted_masks"]


def test_a_box_that_fits_neither_is_no_inverted_mask():
    assert found(THING, (0, 0, 5, 5)) == []
    assert found(THING, (0, 0, WIDTH, HEIGHT)) == []  # what lies outside the mask reaches as far


def test_an_inverted_mask_is_found_without_a_box():
    assert found(~THING) == ["inverted_masks"]
    assert found(~rectangle(20, 30, 30, HEIGHT)) == ["inverted_masks"]  # it stands on the lower edge
    assert found(~rectangle(10, 10, 14, 14)) == ["whole_photo_masks", "inverted_masks"]


@pytest.mark.parametrize(
    "left_out",
    [
        rectangle(0, 0, 20, 20),  # a corner
        rectangle(4, 4, 10, 10) | rectangle(40, 30, 60, 44),  # two things
        rectangle(2, 10, 62, 12) | rectangle(2, 12, 5, 46),  # a thin angle
        rectangle(0, 30, WIDTH, HEIGHT),  # the lower part
        rectangle(4, 40, 62, 43),  # a gap between an outline and the edge
    ],
)
def test_large_masks_around_something_else_are_no_findings(left_out):
    assert found(~left_out) == []


@hypothesis.given(st.tuples(st.integers(1, 50), st.integers(1, 40)), st.tuples(st.integers(4, 40), st.integers(4, 30)))
def test_every_mask_of_a_thing_or_of_all_but_it(corner, size):
    (x, y), (width, height) = corner, size
    thing = rectangle(x, y, min(x + width, WIDTH - 1), min(y + height, HEIGHT - 1))
    hypothesis.assume(thing.any() and thing.mean() < 0.5)
    assert found(thing) == []
    assert found(~thing)[-1:] == ["inverted_masks"]
    assert found(~thing, tight_box(thing))[-1:] == ["inverted_masks"]


def test_words_and_tolerance():
    item = ReferredObject("1", "own", "train", ("it",), ~THING, BOX)
    ((_, words),) = mask_findings(Photo("a", b"", HEIGHT, WIDTH, (item,)), item)
    assert words == "the pixels outside the mask lie in its box, 16, 11, 45, 30; those inside in 0, 0, 64, 48"
    assert box_fits((10, 10, 50, 30), (14, 13, 46, 33)) and not box_fits((10, 10, 50, 30), (15, 10, 50, 30))
