import numpy as np
import tensorflow as tf

from lts_keras.data.input.color_edges import OFFSETS, cell_colors, color_edges
from lts_keras.data.input.training_dataset import training_dataset
from lts_keras.training.feature_cache import FeatureCache, MemoryBudget
from tests.lts_keras.data.photos import SIZES, make_photo, write_photos


def test_colours_by_hand():
    """CIELAB of pure colours under D65, from the tables of colour science."""
    known = {(1.0, 1.0, 1.0): (100, 0, 0), (0.0, 0.0, 0.0): (0, 0, 0), (1.0, 0.0, 0.0): (53.24, 80.09, 67.20)}
    known |= {(0.0, 1.0, 0.0): (87.73, -86.18, 83.18), (0.0, 0.0, 1.0): (32.30, 79.19, -107.86)}
    for rgb, lab in known.items():
        found = cell_colors(tf.fill((8, 4, 3), 1.0) * tf.constant(rgb))
        assert found.shape == (2, 1, 3)
        np.testing.assert_allclose(found[0, 0], lab, atol=0.15)


def test_edges_join_neighbours_of_one_colour():
    colors = np.zeros((6, 6, 3), "float32")
    colors[:, 3:, 0] = 50  # a border between the third column and the fourth
    edges = color_edges(tf.constant(colors)).numpy()
    for channel, (rows, columns) in enumerate(OFFSETS):
        for y in range(6):
            for x in range(6):
                inside = y + rows < 6 and 0 <= x + columns < 6
                assert edges[y, x, channel] == (inside and (x < 3) == (x + columns < 3))
    near = np.zeros((3, 3, 3), "float32")
    near[0, 2, 0], near[2, 0, 0] = 2.3, 2.5  # similarity exp(-1.15) = 0.317 and exp(-1.25) = 0.287; 0.3 decides
    assert color_edges(tf.constant(near)).numpy()[0, 0].tolist() == [1, 0, 1, 0]


def test_boxes_come_with_the_edges_of_their_photo_and_masks_without_weight(tmp_path):
    photos = [make_photo(number, size) for number, size in enumerate(SIZES)]
    tokenizer = write_photos(tmp_path, photos)
    arguments = {"image_size": 64, "batch_size": 4, "deterministic": True, "shuffle": False}
    found = 0
    for x, y, weights in training_dataset(
        tmp_path, tokenizer, box_supervision=True, sampling="per_image", expressions_per_image=3, **arguments
    ):
        assert y["box_mask"].shape[1:] == (3, 16, 16, 5)
        np.testing.assert_array_equal(y["box_mask"][..., :1], y["mask"])
        real = weights["prior"].numpy()
        np.testing.assert_array_equal(weights["mask"].numpy() + weights["box_mask"].numpy(), real)
        for row, image in enumerate(x["image"]):
            np.testing.assert_array_equal(y["box_mask"][row, 1, ..., 1:], color_edges(cell_colors(image)))
        found += int(weights["box_mask"].numpy().sum())
    assert found > 0
    for _, y, weights in training_dataset(tmp_path, tokenizer, **arguments):
        assert set(y) == set(weights) == {"mask", "prior"}, "off, nothing is added"


def test_cached_colours_are_those_of_the_photo_and_of_its_mirror():
    images = np.random.default_rng(0).random((3, 64, 64, 3), "float32")
    inputs = tf.keras.Input((64, 64, 3))
    maps = {f"c{n}": tf.keras.layers.AveragePooling2D(2**n)(inputs) for n in (3, 4, 5)}
    dataset = tf.data.Dataset.from_tensor_slices({"image": images, "photo_id": ["a", "b", "c"]}).batch(2)
    backbone = tf.keras.Model(inputs, maps)
    backbone.trainable = False
    cache = FeatureCache(backbone, dataset, 3, True, MemoryBudget(), progress=lambda line: None, colors=True)
    for number, name in enumerate("abc"):
        for flipped in (False, True):
            square = images[number][:, ::-1] if flipped else images[number]
            found = cache(tf.constant(name), tf.constant(flipped))["colors"]
            np.testing.assert_allclose(found, cell_colors(tf.constant(square)), rtol=2e-3, atol=0.05)
