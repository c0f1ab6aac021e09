import keras
import numpy as np

from lts_keras.layers.prior_upsampler import PriorUpsampler


def test_the_mask_is_the_prior_at_twice_its_size():
    prior = np.array([[0.0, 4.0]], "float32").reshape(1, 1, 2, 1)
    mask = PriorUpsampler()(np.zeros((1, 1, 2, 3), "float32"), prior)
    # Bilinear, with the centres of the cells as corners.
    np.testing.assert_allclose(np.reshape(mask, (2, 4)), [[0, 1, 3, 4]] * 2)


def test_it_stays_in_float32_and_needs_no_features():
    layer = PriorUpsampler(dtype="mixed_float16")
    prior = np.full((2, 3, 5, 1), 1e5, "float32")  # more than float16 holds
    assert layer.encode_image(None, first_channel=3) == {}
    for mask in (layer.refine({}, None, prior), layer(np.zeros((2, 3, 5, 4)), keras.ops.convert_to_tensor(prior))):
        assert mask.shape == (2, 6, 10, 1) and mask.dtype == "float32"
        np.testing.assert_array_equal(mask, np.full((2, 6, 10, 1), 1e5))


def test_it_is_declared_saved_and_has_no_weights():
    layer = PriorUpsampler(name="segmentation_head")
    mask = layer(keras.Input((None, None, 4)), keras.Input((3, 5, 1)))
    assert mask.shape == (None, None, None, 1) and layer.weights == []
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()
