"""ONNX files must answer as the Keras model does."""

import numpy as np
import tensorflow as tf

from lts_keras.export import ExportError
from lts_keras.prediction.network import network_function
from lts_keras.prediction.onnx_network import open_session

__all__ = ["check_halves", "check_onnx"]

TOLERANCE = 1e-4


def check_onnx(path, model, batch=2, seed=0):
    """Runs the file beside the Keras model on random images and sentences, one of them empty.

    Returns:
        float, the largest difference of a probability.

    Raises:
        ExportError: if it is above 1e-4.
        ImportError: without the extra `onnx`.
    """
    images, token_ids = _questions(model, batch, batch, seed)
    session = open_session(path)
    found = session.run(["mask", "prior"], {"image": images, "token_ids": token_ids})
    return _compare(path, found, network_function(model)(tf.constant(images), tf.constant(token_ids)))


def check_halves(encode, segment, model, sentences=3, seed=0):
    """As `check_onnx` for the two halves, with several sentences on one image."""
    images, token_ids = _questions(model, 1, sentences, seed)
    first, second = open_session(encode), open_session(segment)
    names = [value.name for value in first.get_outputs()]
    features = dict(zip(names, first.run(names, {"image": images}), strict=True))
    found = second.run(["mask", "prior"], {**features, "token_ids": token_ids})
    repeated = tf.repeat(tf.constant(images), sentences, axis=0)
    return _compare(segment, found, network_function(model)(repeated, tf.constant(token_ids)))


def _questions(model, images, sentences, seed):
    random = np.random.default_rng(seed)
    pixels = random.random((images, model.image_size, model.image_size, 3), dtype=np.float32)
    token_ids = random.integers(1, model.vocabulary_size, (sentences, model.max_tokens), dtype=np.int32)
    token_ids[:, model.max_tokens // 2 :] = 0
    token_ids[-1] = 0
    return pixels, token_ids


def _compare(path, found, expected):
    difference = max(float(np.abs(a - b.numpy()).max()) for a, b in zip(found, expected, strict=True))
    if not difference <= TOLERANCE:
        raise ExportError(f"{path}: probabilities differ from the Keras model's by {difference:.2g}, over {TOLERANCE}")
    return difference
