"""What is judged of a refiner: its own masks, and the coarse ones that it was given, by the same code."""

import numpy as np
import tensorflow as tf

from lts_keras.data.features.configured import configured_features
from lts_keras.data.input.feature_dataset import check_sentences
from lts_keras.data.text import read_vocabulary
from lts_keras.layers.prior_upsampler import PriorUpsampler
from lts_keras.models.refiner import Refiner
from lts_keras.models.trained import uncalibrated_model
from lts_keras.prediction.network import float32_twin
from lts_keras.prediction.presence import Presence

__all__ = ["CoarseNetwork", "RefinerNetwork", "refiner_networks"]


class CoarseNetwork:
    """Another model's coarse masks as they are: the row of table 3 without the segmentation module.

    They become probabilities of the network's grid as in an `LTS` without segmentation: logits, bilinear to twice
    their size.

    Args:
        features: `FeatureFolder`.
        vocabulary: list of str, by which words count as unknown in the rows.

    Attributes:
        kind: `"features"`.
        image_size, image_resize, threshold: of the folder's header.
        max_tokens, vocabulary, presence, precision, num_devices: as for `ModelNetwork`.
    """

    kind = "features"
    precision = "float32"
    num_devices = 1
    max_tokens = 1  # no network reads the sentences

    def __init__(self, features, vocabulary):
        self.features, self.vocabulary = features, vocabulary
        self.image_size, self.image_resize = features.header.image_size, features.header.image_resize
        self.threshold, self.presence = features.header.threshold, Presence()
        self._upsampler = PriorUpsampler()
        self._forward = tf.function(self._maps, reduce_retracing=True)

    def __call__(self, batch, device=0):
        """Probabilities of one element of an `evaluation_dataset`, by its data sets, refs and expressions.

        Returns:
            `(mask, prior)`: float32 `(N, 2 * grid, 2 * grid, 1)`, and the coarse masks `(N, grid, grid, 1)`.

        Raises:
            DataError: a sentence without a file, or a wrong file.
        """
        words = zip(*(batch[name].numpy() for name in ("dataset", "ref_id", "expression")), strict=True)
        read = [self.features.read(*(word.decode("utf-8") for word in row)) for row in words]
        features, prior = (np.stack(arrays) for arrays in zip(*read, strict=True))
        return self._forward(features, prior)

    def _maps(self, features, prior):
        return tf.sigmoid(self._upsampler(features, prior)), tf.sigmoid(prior)


class RefinerNetwork(CoarseNetwork):
    """A `Refiner` on another model's features, in float32, whatever it was trained in.

    Args:
        model: `Refiner`.
        features, vocabulary: as for `CoarseNetwork`.
    """

    kind = "preset"

    def __init__(self, model, features, vocabulary):
        super().__init__(features, vocabulary)
        self.threshold, self.presence = model.threshold, model.presence
        self._model = float32_twin(model)

    def _maps(self, features, prior):
        mask = self._model({"features": features, "prior": prior}, training=False)["mask"]
        return tf.sigmoid(mask), tf.sigmoid(prior)


def refiner_networks(config, preset, data_dir):
    """The networks with and without the segmentation module.

    Args:
        config: `Config` with `model.refiner_channels` and `data.features`.
        preset: path of the refiner's preset.
        data_dir: folder of prepared data.

    Returns:
        Tuple of `RefinerNetwork` and `CoarseNetwork`.

    Raises:
        WeightsError, ConfigError: as `uncalibrated_model`.
        DataError: features that cannot be used, or that lack a sentence of a split that is judged or calibrated on.
    """
    model, features = uncalibrated_model(config, preset, Refiner), configured_features(config)
    check_sentences(data_dir, features, [*config.evaluate.splits, config.evaluate.calibration_split])
    vocabulary = read_vocabulary(data_dir / "vocabulary.txt")
    return RefinerNetwork(model, features, vocabulary), CoarseNetwork(features, vocabulary)
