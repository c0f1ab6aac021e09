"""What can be judged: networks that turn squares and token ids into probabilities, on one or several devices."""

import contextlib

import keras
import tensorflow as tf

from lts_keras.config.errors import ConfigError
from lts_keras.prediction.network import float32_copy, float32_twin
from lts_keras.prediction.presence import Presence

__all__ = ["ModelNetwork", "find_devices"]


class ModelNetwork:
    """An `LTS` as it is served: in float32, whatever it was trained in.

    Args:
        model: `LTS` with a vocabulary.
        image_size: int, side of the square in pixels; the model's own if `None`.
        num_devices: int, as for `find_devices`. Each has a copy of the weights.

    Attributes:
        kind: `"preset"`.
        image_size, image_resize, max_tokens, vocabulary, threshold, presence: what judging needs to know.
        num_devices: int.
    """

    kind = "preset"
    precision = "float32"

    def __init__(self, model, image_size=None, num_devices=None):
        self.image_size = image_size or model.image_size
        self.image_resize = getattr(model, "image_resize", "letterbox")
        self.max_tokens, self.vocabulary = model.max_tokens, model.vocabulary
        self.threshold, self.presence = model.threshold, getattr(model, "presence", Presence())
        devices = find_devices(num_devices)
        self.num_devices = len(devices)
        self._forwards = []
        for device in devices:
            with tf.device(device) if device else contextlib.nullcontext():
                self._forwards.append(_forward(self._twin(model), device))

    def _twin(self, model):
        if self.num_devices > 1 or self.image_size != model.image_size:
            return float32_copy(model, self.image_size)
        # A model of one's own need not be Keras'.
        return float32_twin(model) if isinstance(model, keras.Model) else model

    def __call__(self, batch, device=0):
        """Probabilities of one element of an `evaluation_dataset`.

        Args:
            batch: dict with `image`, `token_ids` and `image_index`.
            device: int, which of the devices runs.

        Returns:
            `(mask, prior)`: float32 `(N, S / 4, S / 4, 1)` and `(N, S / 8, S / 8, 1)`.
        """
        return self._forwards[device](batch["image"], batch["token_ids"], batch["image_index"])


def _forward(model, device):
    @tf.function(reduce_retracing=True)
    def forward(image, token_ids, image_index):
        outputs = model.segment(model.encode_image(image, training=False), token_ids, image_index=image_index)
        return tf.sigmoid(outputs["mask"]), tf.sigmoid(outputs["prior"])

    def run(*inputs):
        with tf.device(device) if device else contextlib.nullcontext():
            return forward(*inputs)

    return run


def find_devices(num_devices=None):
    """Names of the devices that photos are shared out to.

    Args:
        num_devices: int; all GPUs, or the processor, if `None`. Without a GPU, several are logical parts of one
            processor: for tests.

    Returns:
        List of str; `[None]` where TensorFlow is left to choose.

    Raises:
        ConfigError: there are fewer.
    """
    gpus = tf.config.list_logical_devices("GPU")
    wanted = num_devices or max(1, len(gpus))
    if wanted == 1:
        return [None]
    devices = gpus or tf.config.list_logical_devices("CPU")
    if wanted > len(devices):
        kind = "GPU" if gpus else "CPU"
        raise ConfigError(f"evaluate.num_devices: this process has {len(devices)} {kind} device(s). Received: {wanted}")
    return [device.name for device in devices[:wanted]]
