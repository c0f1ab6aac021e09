"""Cross-modal fusion: the sentence meets the image at stride 32, finer maps join at 16 and 8 (figure 2, "fusion")."""

import keras
from keras import ops

from lts_keras.layers.conv_block import ConvBlock, DenseBlock
from lts_keras.layers.coordinates import NUM_COORDINATES, append_coordinates
from lts_keras.layers.resize import upsample

__all__ = ["Fusion"]


@keras.saving.register_keras_serializable(package="lts_keras")
class Fusion(keras.layers.Layer):
    """Fuses the three maps of the backbone with the sentence (equations 5-7).

    `call` is the literal form. The result is `concat(joint, visual)`, where `visual` depends on the image alone and
    `joint`, upsampled from stride 16, on the sentence too. `encode_image` and `fuse` give these two halves without
    the upsampling and the concatenation: 1x1 convolution, batch norm and LeakyReLU commute with nearest upsampling,
    so the left branch of equation 7 runs at a quarter of the positions.

    Args:
        joint_dim: int. Width of the product of equation 5. Defaults to `1024`.
        fusion_dim: int. Width of each half of equation 7. Defaults to `512`.
        use_sentence: bool. `False` leaves the sentence out of equation 5 (table 2, "fusion" off). Defaults to `True`.
        coordinates: bool. Joins eight channels of position to each map; not in the paper. Defaults to `False`.

    Call arguments:
        maps: dict of float tensors `c3`, `c4`, `c5` at strides 8, 16, 32.
        sentence: Float tensor of shape `(batch, sentence_dim)`.

    Returns:
        `fused`, float tensor of shape `(batch, height / 8, width / 8, 2 * fusion_dim)`.

    Reference:
     - Jing et al., "Locate then Segment", CVPR 2021, section 3.1.
    """

    def __init__(self, joint_dim=1024, fusion_dim=512, use_sentence=True, coordinates=False, **kwargs):
        super().__init__(**kwargs)
        self.joint_dim = joint_dim
        self.fusion_dim = fusion_dim
        self.use_sentence = use_sentence
        self.coordinates = coordinates
        policy = self.dtype_policy
        self.c5_projection = ConvBlock(joint_dim, dtype=policy, name="c5_projection")
        if use_sentence:
            self.sentence_projection = DenseBlock(joint_dim, dtype=policy, name="sentence_projection")
        self.fused1_projection = ConvBlock(fusion_dim, dtype=policy, name="fused1_projection")
        self.c4_projection = ConvBlock(fusion_dim, dtype=policy, name="c4_projection")
        self.fused2_projection = ConvBlock(fusion_dim, dtype=policy, name="fused2_projection")
        self.c3_projection = ConvBlock(fusion_dim, dtype=policy, name="c3_projection")

    def build(self, maps_shape, sentence_shape):
        """Makes the variables; only channels matter."""
        extra = NUM_COORDINATES if self.coordinates else 0
        for name in ("c3", "c4", "c5"):
            getattr(self, f"{name}_projection").build((None, None, None, maps_shape[name][-1] + extra))
        if self.use_sentence:
            self.sentence_projection.build((None, sentence_shape[-1]))
        self.fused1_projection.build((None, None, None, self.joint_dim))
        self.fused2_projection.build((None, None, None, 2 * self.fusion_dim))
        self.built = True

    def call(self, maps, sentence, training=None):
        maps = self._with_positions(maps)
        fused = self._equation_5(self.c5_projection(maps["c5"], training=training), sentence, training)
        for fused_projection, visual_projection, visual in (
            (self.fused1_projection, self.c4_projection, maps["c4"]),
            (self.fused2_projection, self.c3_projection, maps["c3"]),
        ):
            halves = [
                fused_projection(upsample(fused), training=training),
                visual_projection(visual, training=training),
            ]
            fused = ops.concatenate(halves, axis=-1)
        return fused

    def encode_image(self, maps, training=None):
        """What the image alone decides.

        Returns:
            dict: `c5` `(batch, height / 32, width / 32, joint_dim)`, the left factor of equation 5; `c4`
            `(batch, height / 16, width / 16, fusion_dim)`, the image's term of `fused2_projection`; `visual`
            `(batch, height / 8, width / 8, fusion_dim)`, the right half of equation 7.
        """
        maps = self._with_positions(maps)
        c4 = self.c4_projection(maps["c4"], training=training)
        return {
            "c5": self.c5_projection(maps["c5"], training=training),
            "c4": self.fused2_projection.convolve_part(c4, self._fused2_kernels()[1]),
            "visual": self.c3_projection(maps["c3"], training=training),
        }

    def fuse(self, features, sentence, training=None):
        """The left half of equation 7, before its upsampling.

        Args:
            features: dict, from `encode_image`, one row per sentence.
            sentence: Float tensor of shape `(batch, sentence_dim)`.
            training: bool.

        Returns:
            `joint`, float tensor of shape `(batch, height / 16, width / 16, fusion_dim)`.
        """
        fused = self._equation_5(features["c5"], sentence, training)
        fused = self.fused1_projection(fused, training=training)
        term = upsample(self.fused2_projection.convolve_part(fused, self._fused2_kernels()[0]))
        return self.fused2_projection.activate(term + features["c4"], training=training)

    def _fused2_kernels(self):
        return self.fused2_projection.kernel_parts(self.fusion_dim, self.fusion_dim)

    def _with_positions(self, maps):
        return {name: append_coordinates(maps[name]) for name in ("c3", "c4", "c5")} if self.coordinates else maps

    def _equation_5(self, c5, sentence, training):
        if not self.use_sentence:
            return c5
        return c5 * self.sentence_projection(sentence, training=training)[:, None, None, :]

    def compute_output_shape(self, maps_shape, sentence_shape):
        return (*maps_shape["c3"][:-1], 2 * self.fusion_dim)

    def get_config(self):
        return super().get_config() | {
            "joint_dim": self.joint_dim,
            "fusion_dim": self.fusion_dim,
            "use_sentence": self.use_sentence,
            "coordinates": self.coordinates,
        }
