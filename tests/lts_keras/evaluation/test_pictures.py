import types

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from lts_keras.evaluation import pictures


def scene(height=60, width=80):
    photo = np.full((height, width, 3), 120, np.uint8)
    mask = np.zeros((height, width), bool)
    mask[20:40, 30:60] = True
    return photo, mask


def test_overlay_tints_the_mask_and_leaves_far_pixels_alone():
    photo, mask = scene()
    picture = pictures.overlay(photo, mask, color=(255, 0, 0), alpha=0.5)
    assert picture.dtype == np.uint8 and picture.shape == photo.shape
    assert (picture[mask] == (188, 60, 60)).all()
    changed = (picture != photo).any(axis=-1)
    assert changed[10:15].sum() == 0 and changed[19, 45] and changed[18, 45]
    assert (photo == 120).all(), "the photo of the caller must not change"


def test_outline_lies_outside_and_has_the_asked_width():
    _, mask = scene()
    band = pictures.outline(mask, 2)
    assert not (band & mask).any()
    assert band[18, 45] and band[19, 45] and not band[17, 45]


def test_outline_of_a_mask_that_fills_the_photo_is_empty():
    assert not pictures.outline(np.ones((4, 5), bool), 3).any()


def test_heat_map_is_warmest_at_the_maximum_and_stands_a_constant_prior():
    photo, _ = scene()
    prior = np.full((60, 80), 0.01, np.float32)
    prior[30, 40] = 0.02
    picture = pictures.heat_map(photo, prior).astype(int)
    assert picture[30, 40, 0] - picture[30, 40, 2] > picture[5, 5, 0] - picture[5, 5, 2]
    assert np.isfinite(pictures.heat_map(photo, np.zeros((60, 80)))).all()


@pytest.mark.parametrize("draw", [pictures.overlay, pictures.heat_map])
def test_another_size_is_refused_by_name(draw):
    with pytest.raises(ValueError, match=r"photo's size \(60, 80\). Received: \(3, 4\)"):
        draw(scene()[0], np.zeros((3, 4)))


def test_panels_show_what_is_given_side_by_side():
    photo, mask = scene()
    one = pictures.panels(photo, "the left dog")
    four = pictures.panels(
        photo, "the left dog", prior=mask * 0.9, mask=mask, truth=mask, point=(45, 30), note="IoU 1.00"
    )
    assert four.width > 3 * one.width
    assert four.height > one.height, "the note has a line of its own"


@hypothesis.given(st.text(max_size=400), st.integers(1, 40), st.integers(1, 40))
@hypothesis.settings(max_examples=25)
def test_any_expression_and_any_photo_size_make_a_sheet(expression, height, width):
    photo = np.zeros((height, width, 3), np.uint8)
    mask = np.ones((height, width), bool)
    sheet = pictures.panels(photo, expression, prior=mask * 0.5, mask=mask, truth=mask, height=60)
    assert sheet.mode == "RGB" and sheet.width <= 4 * 250 + 50


def test_fit_shrinks_and_never_enlarges():
    assert pictures.fit(np.zeros((400, 200, 3), np.uint8), 100).size == (50, 100)
    assert pictures.fit(np.zeros((40, 20, 3), np.uint8), 100).size == (20, 40)


def test_the_line_of_an_answer_has_its_presence_where_the_model_tells_it(tmp_path, capsys):
    mask = np.zeros((60, 80), bool)
    mask[:30] = True
    known, unknown = (
        types.SimpleNamespace(mask=mask, score=0.75, presence=presence, box=(0, 0, 80, 30)) for presence in (0.5, None)
    )
    pictures.write_overlay(tmp_path / "overlay.png", np.zeros((60, 80, 3), "uint8"), ["dog", "cat"], [known, unknown])
    assert capsys.readouterr().out.splitlines()[:2] == [
        "'dog': score 0.750, presence 0.500, box (0, 0, 80, 30), 50.0% of the photo",
        "'cat': score 0.750, box (0, 0, 80, 30), 50.0% of the photo",
    ]
