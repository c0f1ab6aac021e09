"""Answers drawn over a photo."""

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image
from scipy import ndimage

from serving.client import drawing
from serving.client.answers import Answer
from serving.client.drawing import COLORS, draw_answers


def answer(mask, point=(5, 5), presence=0.9):
    ys, xs = np.nonzero(mask)
    box = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if len(xs) else (0, 0, 0, 0)
    return Answer(mask, 0.8, presence, tuple(map(int, box)), point, 3, b"")


@pytest.fixture
def photo():
    return Image.new("RGB", (600, 500), (200, 200, 200))


@pytest.fixture
def square():
    mask = np.zeros((500, 600), bool)
    mask[100:300, 150:400] = True
    return mask


def test_the_masks_pixels_are_tinted_its_edge_drawn_and_nothing_else(photo, square):
    disc = np.zeros((500, 600), bool)
    disc[80:320, 130:420] = True  # the square with its outline
    drawn = np.asarray(draw_answers(photo, ["a square"], [answer(square, point=(275, 200))]))
    assert drawn.shape[1] == 600
    above = drawn[:500].astype(int)
    tint = np.array([200 + (value - 200) * 0.4 for value in COLORS[0]])
    assert np.abs(above[120, 170] - tint).max() <= 2
    changed = (above != 200).any(axis=-1)
    assert changed[square].all()
    assert not changed[~disc].any()
    assert (above[200, 148] == COLORS[0]).all()  # the outline, of the answer's colour
    assert (above[200, 146] == 0).all()  # and dark around it
    assert (above[200, 275] == COLORS[0]).all()  # the point
    assert (drawn[500:] == 255).all(axis=-1).mean() > 0.5  # the legend, on paper


def test_each_answer_has_its_colour_and_nothing_found_is_said(photo, square):
    empty = np.zeros_like(square)
    two = draw_answers(photo, ["a square", "nothing"], [answer(square), answer(empty, (500, 400), None)])
    one = draw_answers(photo, ["a square"], [answer(square)])
    assert two.height > one.height
    pixels = np.asarray(two)[:500]
    found, count = ndimage.label((pixels == COLORS[1]).all(axis=-1))
    assert count >= 1  # the point of the second, and no outline
    assert ndimage.find_objects(found)[0][0].start > 350


def test_a_long_sentence_is_wrapped_and_cut(photo, square):
    heights = [
        draw_answers(photo, [" ".join(["word"] * count)], [answer(square)]).height for count in (1, 20, 40, 400, 4000)
    ]
    assert heights[0] < heights[1] < heights[2] <= heights[3] == heights[4] < 700
    assert draw_answers(photo, ["w" * 5000], [answer(square)]).width == 600


def write_font(path, letters):
    """A font whose letters are full squares, and whose box for what it lacks is empty."""
    pen = TTGlyphPen(None)
    for move, point in ((pen.moveTo, (0, 0)), (pen.lineTo, (0, 800)), (pen.lineTo, (800, 800)), (pen.lineTo, (800, 0))):
        move(point)
    pen.closePath()
    font = FontBuilder(1000)
    font.setupGlyphOrder([".notdef", "square"])
    font.setupCharacterMap({ord(letter): "square" for letter in letters})
    font.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": pen.glyph()})
    font.setupHorizontalMetrics({".notdef": (1000, 0), "square": (1000, 0)})
    font.setupHorizontalHeader(ascent=900, descent=-100)
    font.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)


def legend(photo, square, sentence):
    return np.asarray(draw_answers(photo, [sentence], [answer(square)]))[500:]


def test_letters_that_no_font_has_are_said_to_be_missing_and_no_boxes(photo, square, monkeypatch):
    monkeypatch.setattr(drawing, "FURTHER_FONTS", ("nowhere.ttf",))
    first, second = (legend(photo, square, sentence) for sentence in ("左の犬", "the 犬 on the right side"))
    np.testing.assert_array_equal(first, second)
    english = legend(photo, square, "the left dog")
    ink, of_english = ((one < 60).any(axis=-1).sum() for one in (first, english))
    assert ink > 1.3 * of_english  # a note longer than that sentence


def test_another_font_of_the_system_is_taken_where_it_has_the_letters(photo, square, monkeypatch, tmp_path):
    write_font(tmp_path / "squares.ttf", "“左の犬”")
    monkeypatch.setattr(drawing, "FURTHER_FONTS", ("nowhere.ttf", str(tmp_path / "squares.ttf")))
    found, _ = ndimage.label((legend(photo, square, "左の犬") < 60).all(axis=-1))
    full = [one for one in ndimage.find_objects(found) if (found[one] > 0).all() and found[one].size > 80]
    assert len(full) == 5  # three letters and two marks
    assert (legend(photo, square, "左の猫") != legend(photo, square, "左の犬")).any()  # which it lacks


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (700, 3), (37, 29)])
def test_any_size_of_photo(size):
    mask = np.ones(size[::-1], bool)
    drawn = draw_answers(Image.new("RGB", size), ["x"], [answer(mask, (0, 0))])
    assert max(drawn.size) >= 480
    assert drawn.width % size[0] == 0


def test_a_mask_of_another_size_is_refused(photo):
    with pytest.raises(ValueError, match="the mask is of 500 x 600, the photo of 600 x 500 pixels"):
        draw_answers(photo, ["x"], [answer(np.zeros((600, 500), bool))])
