"""Run lengths and polygons against pycocotools, and polygons by filling them."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw
from pycocotools import mask as coco
from scipy import ndimage

from serving.client.shapes import encode_rle, outlines, polygons

masks = arrays(np.bool_, st.tuples(st.integers(1, 24), st.integers(1, 24)))


def fill(borders, shape):
    """Pixels whose middle lies inside, by pycocotools: bool array."""
    if not borders:
        return np.zeros(shape, bool)
    flat = [border.ravel().astype(float).tolist() for border in borders]
    return coco.decode(coco.merge(coco.frPyObjects(flat, *shape))) > 0


def smooth_mask(seed, height=120, width=160):
    noise = np.random.default_rng(seed).normal(size=(height, width))
    return ndimage.gaussian_filter(noise, 6) > 0.01


@hypothesis.given(masks)
def test_run_lengths_are_those_of_pycocotools(mask):
    expected = coco.encode(np.asfortranarray(mask, np.uint8))
    assert encode_rle(mask) == {"size": list(mask.shape), "counts": expected["counts"].decode()}


@pytest.mark.parametrize("fill_value", [False, True])
def test_run_lengths_of_a_large_mask(fill_value):
    mask = np.full((1500, 1200), fill_value)
    mask[17, 100] = not fill_value
    mask[1400:, 1100] = not fill_value
    expected = coco.encode(np.asfortranarray(mask, np.uint8))
    assert encode_rle(mask)["counts"] == expected["counts"].decode()
    np.testing.assert_array_equal(coco.decode(encode_rle(mask)), mask)


def test_run_lengths_of_nothing():
    assert encode_rle(np.zeros((0, 5), bool)) == {"size": [0, 5], "counts": ""}


@hypothesis.given(masks)
def test_polygons_filled_are_the_mask_without_its_holes(mask):
    expected = ndimage.binary_fill_holes(mask, structure=np.ones((3, 3)))
    np.testing.assert_array_equal(fill(polygons(mask), mask.shape), expected)


@hypothesis.given(masks)
def test_all_outlines_by_the_even_odd_rule_are_the_mask(mask):
    times = sum((fill([border], mask.shape).astype(int) for border in outlines(mask)), np.zeros(mask.shape, int))
    np.testing.assert_array_equal(times % 2 == 1, mask)


@hypothesis.given(masks)
def test_outlines_turn_at_every_corner_and_none_is_left_out(mask):
    borders = outlines(mask)
    for border in borders:
        steps = np.roll(border, -1, axis=0) - border
        assert ((steps != 0).sum(axis=1) == 1).all()  # along pixel edges
        assert ((steps[:, 0] != 0) != (np.roll(steps, -1, axis=0)[:, 0] != 0)).all()  # with a turn after each
    areas = [np.sum(b[:, 0] * np.roll(b[:, 1], -1) - np.roll(b[:, 0], -1) * b[:, 1]) / 2 for b in borders]
    assert sum(areas) == mask.sum()
    _, parts = ndimage.label(mask)
    assert sum(area > 0 for area in areas) == parts


@pytest.mark.parametrize("seed", range(3))
def test_another_program_fills_them_alike(seed):
    mask = smooth_mask(seed)
    mask = ndimage.binary_fill_holes(mask, structure=np.ones((3, 3)))
    canvas = Image.new("1", (mask.shape[1] * 4, mask.shape[0] * 4))
    for border in polygons(mask):
        # Four times as large, so that the middles of pixels lie clear of the edges.
        ImageDraw.Draw(canvas).polygon([(4 * x - 0.5, 4 * y - 0.5) for x, y in border.tolist()], fill=1)
    np.testing.assert_array_equal(np.asarray(canvas)[2::4, 2::4], mask)


def test_the_largest_comes_first():
    mask = np.zeros((10, 20), bool)
    mask[1, 1] = mask[3:9, 5:18] = True
    mask[5, 8] = False
    first, second = polygons(mask)
    assert first.tolist() == [[5, 3], [18, 3], [18, 9], [5, 9]]
    assert second.tolist() == [[1, 1], [2, 1], [2, 2], [1, 2]]
    assert len(outlines(mask)) == 3
