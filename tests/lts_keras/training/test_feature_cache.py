import numpy as np
import pytest
import tensorflow as tf

from lts_keras.config.errors import ConfigError
from lts_keras.training.feature_cache import FeatureCache
from tests.lts_keras.models.test_lts import three_maps


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(0)
    image = rng.random((3, 64, 64, 3)).astype("float32")
    # The second photo comes again, as one with many expressions does.
    rows = {"image": image[[0, 1, 1, 2]], "photo_id": ["a", "b", "b", "c"]}
    return image, tf.data.Dataset.from_tensor_slices(rows).batch(2, drop_remainder=False)


def test_gives_the_backbones_maps_of_a_photo_and_of_its_mirror(photos):
    image, dataset = photos
    backbone = three_maps()
    cache = FeatureCache(backbone, dataset, num_photos=3, flips=True, progress=lambda line: None)
    for row, name in enumerate("abc"):
        for flipped in (False, True):
            square = image[row : row + 1, :, ::-1] if flipped else image[row : row + 1]
            expected, found = backbone(square), cache(tf.constant(name), tf.constant(flipped))
            for key in ("c3", "c4", "c5"):
                np.testing.assert_allclose(found[key], expected[key][0], rtol=2e-3, atol=2e-3)


def test_too_large_a_cache_is_refused(photos):
    with pytest.raises(ConfigError, match="train.max_cache_gib: 1e-06"):
        FeatureCache(three_maps(), photos[1], num_photos=3, flips=False, max_gib=1e-6)
