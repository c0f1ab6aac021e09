"""The segmentation module alone, as a refiner on another model's features (table 3, "CMPC+Seg")."""

import keras

from lts_keras.layers.segmentation_head import SegmentationHead
from lts_keras.models import preset
from lts_keras.models.synchronization import synchronize_batch_norm
from lts_keras.prediction.presence import Presence

__all__ = ["Refiner"]


@keras.saving.register_keras_serializable(package="lts_keras")
class Refiner(keras.Model):
    """Refines the coarse mask of any model to twice its size, from that model's own features (equation 10).

    Args:
        channels: int. Channels of the other model's features.
        aspp_dim: int. Channels of each ASPP branch. Defaults to `256`.
        aspp_rates: sequence of int. Defaults to `(6, 12, 18)`.
        threshold: float. Mask probability above which a pixel belongs to the object. Defaults to `0.25`.
        synchronized_batch_norm: bool. Whether batch norm's statistics are those of all replicas; `None`: where there is
            more than one.

    Call arguments:
        inputs: dict with `features`, float `(batch, height, width, channels)`, and `prior`, logits of the other
            model's mask `(batch, height, width, 1)`.

    Returns:
        dict with `mask`, float32 logits `(batch, 2 * height, 2 * width, 1)`.

    Reference:
     - Jing et al., "Locate then Segment", CVPR 2021, table 3.
    """

    def __init__(
        self,
        channels,
        aspp_dim=256,
        aspp_rates=(6, 12, 18),
        threshold=0.25,
        synchronized_batch_norm=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.channels = channels
        self.aspp_dim = aspp_dim
        self.aspp_rates = tuple(aspp_rates)
        self.threshold = threshold
        self.synchronized_batch_norm = synchronized_batch_norm
        self.presence = Presence()
        self.segmentation_head = SegmentationHead(
            aspp_dim, aspp_rates, dtype=self.dtype_policy, name="segmentation_head"
        )
        self.build()

    def build(self, input_shape=None):
        """Makes the variables; done by the constructor."""
        if not self.built:
            self.segmentation_head.build((None, None, None, self.channels), (None, None, None, 1))
            synchronize_batch_norm(self, self.synchronized_batch_norm)
            self.built = True

    def build_from_config(self, config):
        """Nothing is left to do: the variables are made by the constructor."""

    def save_to_preset(self, folder):
        """Writes weights and configuration into a folder."""
        preset.save_to_preset(self, folder)

    @classmethod
    def from_preset(cls, folder):
        """Reads what `save_to_preset` wrote; raises `WeightsError` where a file is missing or cut short."""
        return preset.from_preset(cls, folder)

    def call(self, inputs, training=None):
        return {"mask": self.segmentation_head(inputs["features"], inputs["prior"], training=training)}

    def get_config(self):
        return super().get_config() | {
            "channels": self.channels,
            "aspp_dim": self.aspp_dim,
            "aspp_rates": list(self.aspp_rates),
            "threshold": self.threshold,
            "synchronized_batch_norm": self.synchronized_batch_norm,
        }
