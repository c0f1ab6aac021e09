import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st
from pycocotools import mask as coco_mask

from lts_keras.data.prepare.masks import decode_mask, encode_mask, rasterize, tight_box
from lts_keras.data.schema import DataError

masks = np_st.arrays(bool, np_st.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40))


def toolkit_mask(segmentation, height, width):
    """The rule of the REFER toolkit: every polygon decoded on its own, then added up."""
    parts = coco_mask.decode(coco_mask.frPyObjects(segmentation, height, width))
    return parts.sum(axis=2) > 0


@hypothesis.given(masks)
def test_png_and_run_lengths_give_the_mask_back(mask):
    runs = coco_mask.encode(np.asfortranarray(mask.astype("uint8")))
    flat = mask.T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(flat, prepend=0))
    counts = np.diff([0, *edges, flat.size]).tolist()
    for counts_form in (runs["counts"], runs["counts"].decode(), counts):
        again = rasterize({"size": list(mask.shape), "counts": counts_form}, *mask.shape)
        np.testing.assert_array_equal(again, mask)
    np.testing.assert_array_equal(decode_mask(encode_mask(mask)), mask)


@hypothesis.given(masks)
def test_tensorflow_reads_the_png(mask):
    png = tf.io.decode_png(encode_mask(mask), channels=1)
    np.testing.assert_array_equal(png[..., 0] > 0, mask)


@hypothesis.given(
    st.lists(st.lists(st.tuples(st.floats(-5, 45), st.floats(-5, 35)), min_size=3, max_size=8), min_size=1, max_size=3)
)
def test_polygons_are_those_of_the_toolkit(parts):
    polygons = [[side for corner in part for side in corner] for part in parts]
    np.testing.assert_array_equal(rasterize(polygons, 30, 40), toolkit_mask(polygons, 30, 40))


def test_tight_box():
    mask = np.zeros((20, 30), bool)
    assert tight_box(mask) is None
    mask[4:9, 7:20] = True
    assert tight_box(mask) == (7, 4, 20, 9)


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ("polygon", "list of polygons"),
        ([[1, 2, 3, 4, 5, "x"]], "x0, y0"),
        ([[1, 2, 3, 4, 5, float("nan")]], "x0, y0"),
        ([[1, 2, 3, 4, 5, 6, 7]], "x0, y0"),
        ([[0, 0, 1e9, 0, 5, 5]], "far outside"),
        ({"size": [10, 20]}, "counts"),
        ({"size": [20, 10], "counts": [200]}, "10 x 20"),
        ({"size": [10, 20], "counts": [199]}, "200 pixels"),
        ({"size": [10, 20], "counts": [-1, 201]}, "200 pixels"),
        ({"size": [10, 20], "counts": "zzzz"}, "damaged"),
        ({"size": [10, 20], "counts": "é"}, "damaged"),
        ({"size": [10, 20], "counts": ""}, "damaged"),
    ],
)
def test_a_malformed_segmentation_is_named(segmentation, words):
    with pytest.raises(DataError, match=words):
        rasterize(segmentation, 10, 20)


def test_parts_of_fewer_than_three_corners_cover_nothing():
    assert not rasterize([[1, 1, 5, 5], []], 10, 10).any()
    assert not rasterize([], 10, 10).any()


@hypothesis.given(st.data())
def test_damaged_compressed_runs_never_reach_the_decoder(data):
    mask = np.random.default_rng(1).random((30, 40)) < 0.3
    counts = bytearray(coco_mask.encode(np.asfortranarray(mask.astype("uint8")))["counts"])
    place = data.draw(st.integers(0, len(counts) - 1))
    counts[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        assert rasterize({"size": [30, 40], "counts": bytes(counts)}, 30, 40).shape == (30, 40)
    except DataError:
        pass
