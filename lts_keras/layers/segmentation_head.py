"""Segmentation: ASPP over the features and the position prior, upsampled by a transposed convolution (figure 3)."""

import keras
from keras import ops

from lts_keras.layers.batch_norm import BatchNormalization
from lts_keras.layers.conv_block import LEAKY_SLOPE, NORM_EPSILON, ConvBlock
from lts_keras.layers.resize import upsample

__all__ = ["SegmentationHead"]


@keras.saving.register_keras_serializable(package="lts_keras")
class SegmentationHead(keras.layers.Layer):
    """Refines a coarse prior to a mask at twice its size (equation 10).

    `call` is the literal form and needs nothing of the rest of LTS, so the head also refines another model's
    features (table 3): `SegmentationHead()(features, prior)`.

    Inside LTS the features are `concat(joint, visual)`, and each branch is a sum of convolutions over the parts:
    `encode_image` gives the terms of `visual`, once per image, `refine` adds those of `joint` and of the prior.
    `joint` is nearest-upsampled from stride 16, where a dilated convolution at rate r equals one at rate r / 2.

    Args:
        aspp_dim: int. Channels of each branch. Defaults to `256`.
        rates: sequence of int. Dilation rates of the 3x3 branches; even ones are four times cheaper in
            `refine`. Defaults to `(6, 12, 18)`.

    Call arguments:
        features: Float tensor of shape `(batch, height, width, channels)`.
        prior: Float tensor of logits of shape `(batch, height, width, 1)`, or `None` for a head without a prior.

    Returns:
        Float32 logits of shape `(batch, 2 * height, 2 * width, 1)`.

    Reference:
     - Jing et al., "Locate then Segment", CVPR 2021, section 3.3.
    """

    def __init__(self, aspp_dim=256, rates=(6, 12, 18), **kwargs):
        super().__init__(**kwargs)
        self.aspp_dim = aspp_dim
        self.rates = tuple(rates)
        policy = self.dtype_policy
        self.point = ConvBlock(aspp_dim, dtype=policy, name="point")
        self.dilated = [
            ConvBlock(aspp_dim, 3, dilation_rate=rate, dtype=policy, name=f"dilated_{index}")
            for index, rate in enumerate(self.rates)
        ]
        self.pooled = ConvBlock(aspp_dim, dtype=policy, name="pooled")
        self.project = ConvBlock(aspp_dim, dtype=policy, name="project")
        self.upsample = keras.layers.Conv2DTranspose(
            aspp_dim, 4, strides=2, padding="same", use_bias=False, dtype=policy, name="upsample"
        )
        self.upsample_norm = BatchNormalization(epsilon=NORM_EPSILON, dtype=policy, name="upsample_norm")
        self.score = keras.layers.Conv2D(1, 1, dtype=policy, name="score")

    @property
    def _branches(self):
        return [self.point, *self.dilated]

    def build(self, features_shape, prior_shape=None):
        """Makes the variables; only channels matter."""
        self._in_channels = features_shape[-1] + (1 if prior_shape is not None else 0)
        for branch in (*self._branches, self.pooled):
            branch.build((None, None, None, self._in_channels))
        self.project.build((None, None, None, (2 + len(self.rates)) * self.aspp_dim))
        for layer in (self.upsample, self.upsample_norm, self.score):
            layer.build((None, None, None, self.aspp_dim))
        self.built = True

    def call(self, features, prior=None, training=None):
        if prior is not None:
            features = ops.concatenate([features, ops.cast(prior, features.dtype)], axis=-1)
        branches = [branch(features, training=training) for branch in self._branches]
        pooled = self.pooled(ops.mean(features, axis=(1, 2), keepdims=True), training=training)
        branches.append(ops.broadcast_to(pooled, ops.shape(branches[0])))
        return self._decode(self.project(ops.concatenate(branches, axis=-1), training=training), training)

    def encode_image(self, visual, first_channel):
        """Each branch's term of the right half of the features, which the image alone decides.

        Args:
            visual: Float tensor `(batch, height, width, c)`.
            first_channel: int. Where `visual` starts in the features.

        Returns:
            dict of each branch's term, before batch norm: `point` and `dilated_<index>` of shape
            `(batch, height, width, aspp_dim)`, `pooled` `(batch, 1, 1, aspp_dim)`.
        """
        prior_dim = self._in_channels - first_channel - visual.shape[-1]

        def term(branch, x):
            return branch.convolve_part(x, self._kernels(branch, first_channel, prior_dim)["visual"])

        terms = {branch.name: term(branch, visual) for branch in self._branches}
        return terms | {"pooled": term(self.pooled, ops.mean(visual, axis=(1, 2), keepdims=True))}

    def refine(self, features, joint, prior, training=None):
        """Equation 10 on the parts of its input.

        Args:
            features: dict, from `encode_image`, one row per sentence.
            joint: Float tensor `(batch, height / 2, width / 2, c)`, the left half of the features at stride 16.
            prior: Float tensor of logits `(batch, height, width, 1)`, or `None`.
            training: bool.

        Returns:
            Float32 logits of shape `(batch, 2 * height, 2 * width, 1)`.
        """
        if prior is not None:
            prior = ops.cast(prior, self.compute_dtype)
        branches = [
            branch.activate(self._term(branch, features[branch.name], joint, prior), training=training)
            for branch in self._branches
        ]
        # The pooled branch is the same at every position, so its share of the projection is made at one.
        means = [x if x is None else ops.mean(x, axis=(1, 2), keepdims=True) for x in (joint, prior)]
        pooled = self.pooled.activate(self._term(self.pooled, features["pooled"], *means), training=training)
        kernels = self.project.kernel_parts(len(branches) * self.aspp_dim, self.aspp_dim)
        x = self.project.convolve_part(ops.concatenate(branches, axis=-1), kernels[0])
        x = x + self.project.convolve_part(pooled, kernels[1])
        return self._decode(self.project.activate(x, training=training), training)

    def _term(self, branch, visual_term, joint, prior):
        """A branch's convolution as the sum over visual, joint and prior."""
        kernels = self._kernels(branch, joint.shape[-1], 0 if prior is None else 1)
        rate = branch.dilation_rate
        if branch is self.pooled:
            term = branch.convolve_part(joint, kernels["joint"])
        elif branch.kernel_size > 1 and rate % 2:  # an odd rate, 1 included, has no half
            term = branch.convolve_part(upsample(joint), kernels["joint"])
        else:
            term = upsample(branch.convolve_part(joint, kernels["joint"], dilation_rate=max(1, rate // 2)))
        term = visual_term + term
        return term if prior is None else term + branch.convolve_part(prior, kernels["prior"])

    def _kernels(self, branch, joint_dim, prior_dim):
        """The parts of a branch's kernel that meet `joint`, `visual` and, where there is one, the prior."""
        widths = [joint_dim, self._in_channels - joint_dim - prior_dim, *([prior_dim] if prior_dim else ())]
        return dict(zip(("joint", "visual", "prior"), branch.kernel_parts(*widths), strict=False))

    def _decode(self, x, training):
        x = self.upsample_norm(self.upsample(x), training=training)
        return ops.cast(self.score(ops.leaky_relu(x, negative_slope=LEAKY_SLOPE)), "float32")

    def compute_output_shape(self, features_shape, prior_shape=None):
        batch, height, width, _ = features_shape
        return (batch, height and 2 * height, width and 2 * width, 1)

    def compute_output_spec(self, features, prior=None, training=None):
        return keras.KerasTensor(self.compute_output_shape(features.shape), dtype="float32")

    def get_config(self):
        return super().get_config() | {"aspp_dim": self.aspp_dim, "rates": list(self.rates)}
