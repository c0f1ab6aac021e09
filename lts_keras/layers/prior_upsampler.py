"""The box that stands where there is no segmentation module: the prior itself is the mask."""

import keras
from keras import ops

__all__ = ["PriorUpsampler"]


@keras.saving.register_keras_serializable(package="lts_keras")
class PriorUpsampler(keras.layers.Layer):
    """Makes the bilinearly upsampled prior the mask (table 2, the rows without segmentation). It has no weights.

    Call arguments:
        features: Float tensor of shape `(batch, height, width, channels)`; not used.
        prior: Float tensor of logits of shape `(batch, height, width, 1)`.

    Returns:
        Float32 logits of shape `(batch, 2 * height, 2 * width, 1)`.
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)  # logits of eq. 8 may be larger than float16 holds

    def call(self, features, prior, training=None):
        _, height, width, _ = ops.shape(prior)
        prior = ops.cast(prior, "float32")
        return ops.image.resize(prior, (2 * height, 2 * width), interpolation="bilinear")

    def encode_image(self, visual, first_channel):
        """Nothing of the image is needed."""
        return {}

    def refine(self, features, joint, prior, training=None):
        """As `call`, on the halves of the features."""
        return self.call(joint, prior)

    def compute_output_shape(self, features_shape, prior_shape=None):
        batch, height, width, _ = features_shape
        return (batch, height and 2 * height, width and 2 * width, 1)

    def compute_output_spec(self, features, prior=None, training=None):
        return keras.KerasTensor(self.compute_output_shape(features.shape), dtype="float32")

    def get_config(self):
        return super().get_config()  # Keras makes none of a dtype that is a policy object
