import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from lts_keras.config.errors import ConfigError
from lts_keras.training.feature_cache import FeatureCache, MemoryBudget
from tests.conftest import run_python
from tests.lts_keras.models.test_lts import three_maps

IMAGES = np.random.default_rng(0).random((3, 64, 64, 3)).astype("float32")


def frozen():
    backbone = three_maps()
    backbone.trainable = False
    return backbone


@pytest.fixture(scope="module")
def dataset():
    # The second photo comes again, as one with many expressions does.
    rows = {"image": IMAGES[[0, 1, 1, 2]], "photo_id": ["a", "b", "b", "c"]}
    return tf.data.Dataset.from_tensor_slices(rows).batch(2, drop_remainder=False)


def make(backbone, dataset, budget=None, flips=True, num_photos=3):
    return FeatureCache(backbone, dataset, num_photos, flips, budget or MemoryBudget(), progress=lambda line: None)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_gives_the_backbones_maps_of_a_photo_and_of_its_mirror(dataset, dtype):
    keras.config.set_dtype_policy(dtype)
    try:
        backbone = frozen()
    finally:
        keras.config.set_dtype_policy("float32")
    cache = make(backbone, dataset)
    photos = [(name, flipped) for name in "abc" for flipped in (False, True)]
    data = tf.data.Dataset.from_tensor_slices(tuple(map(list, zip(*photos, strict=True)))).map(cache)
    for (name, flipped), found in zip(photos, data, strict=True):
        square = IMAGES["abc".index(name)][None]
        expected = backbone(square[:, :, ::-1] if flipped else square)
        for key in ("c3", "c4", "c5"):
            # The precision of the backbone itself, so that training computes what it would without a cache.
            assert found[key].dtype == expected[key].dtype
            # Neither more nor less than rounding to float16.
            np.testing.assert_allclose(
                tf.cast(found[key], tf.float32), tf.cast(expected[key][0], tf.float32), rtol=5e-3, atol=5e-3
            )


def test_the_limit_is_for_all_splits_together(dataset):
    # Maps of 64 x 64 photos: 8 x 8 x 6, 4 x 4 x 8 and 2 x 2 x 10 values of two bytes.
    one = (8 * 8 * 6 + 4 * 4 * 8 + 2 * 2 * 10) * 2 * 3 / 2**30
    budget = MemoryBudget(2.5 * one)
    make(frozen(), dataset, budget, flips=False)
    assert budget.used_gib == pytest.approx(one)
    with pytest.raises(ConfigError, match="beside .* of other photos, more than train.max_cache_gib"):
        make(frozen(), dataset, budget, flips=True)
    make(frozen(), dataset, budget, flips=False)
    with pytest.raises(ConfigError, match="3 photos need .* train.max_cache_gib"):
        make(frozen(), dataset, budget, flips=False)


def test_a_backbone_of_which_a_part_trains_is_refused(dataset):
    backbone = three_maps()
    for layer in backbone.layers[:-1]:
        layer.trainable = False
    with pytest.raises(ConfigError, match="model.trainable_backbone: none. Received one that trains"):
        make(backbone, dataset)


def test_values_that_float16_cannot_hold_are_refused(dataset):
    image = keras.Input((None, None, 3))
    maps = {name: keras.layers.AveragePooling2D(2**k)(image) * 1e6 for k, name in ((3, "c3"), (4, "c4"), (5, "c5"))}
    with pytest.raises(ConfigError, match="map c3 has values beyond 65504"):
        make(keras.Model(image, maps), dataset)


def test_a_wrong_number_of_photos_is_named(dataset):
    for wrong in (2, 4):
        with pytest.raises(ValueError, match=f"num_photos.*Received: {wrong}"):
            make(frozen(), dataset, num_photos=wrong)


PROGRAM = """
import json, resource
import keras, numpy as np, tensorflow as tf
from lts_keras.training.feature_cache import FeatureCache, MemoryBudget
image = keras.Input((64, 64, 3))
maps = {f"c{k}": keras.layers.Lambda(lambda x, k=k: tf.tile(x[:, :: 2**k, :: 2**k], (1, 1, 1, 256)))(image)
        for k in (3, 4, 5)}
backbone = keras.Model(image, maps)
def photos(count):
    data = tf.data.Dataset.range(count).map(
        lambda i: {"image": tf.fill((64, 64, 3), tf.cast(i % 7, "float32")), "photo_id": tf.strings.as_string(i)})
    return data.batch(16)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
FeatureCache(backbone, photos(32), 32, True, MemoryBudget(), print)
before = peak()
count = 800
cache = FeatureCache(backbone, photos(count), count, True, MemoryBudget(), print)
row = cache(tf.constant("13"), tf.constant(True))["c3"]
size = sum(value.shape.num_elements() * 2 for value in cache._maps.values())
print("RESULT", json.dumps({"size": size, "grown": peak() - before, "value": float(row[0, 0, 0])}))
"""


def test_filling_makes_no_second_copy():
    done = run_python("-c", PROGRAM, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.partition("RESULT ")[2])
    assert result["value"] == 6.0
    # 206 MB of maps; a list of parts that is joined at the end took twice as much, the largest map alone 1.76 times.
    assert result["size"] > 200e6 and result["grown"] < 1.4 * result["size"]
