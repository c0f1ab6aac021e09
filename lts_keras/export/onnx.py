"""The network as an ONNX file, for runtimes without TensorFlow."""

import contextlib
import logging
import os
from pathlib import Path

import numpy as np
import tensorflow as tf

from lts_keras.export import ExportError
from lts_keras.prediction.network import network_function
from lts_keras.prediction.settings import ONNX_KEY, ModelSettings

__all__ = ["check_onnx", "export_onnx"]

OPSET = 18
TOLERANCE = 1e-4
_MISSING = "ONNX export needs the extra `onnx`: pip install lts-keras[onnx]"


def export_onnx(model, path):
    """Writes `segment_tensors` as ONNX: `image` (N, S, S, 3) and `token_ids` (N, T) to `mask` and `prior`.

    What else an answer takes (vocabulary, threshold, ...) stands in a metadata property, as `ModelSettings`.

    The recurrence is written out step by step: ONNX's own loop takes more than twice as long.

    Args:
        model: `LTS`.
        path: path of the `.onnx` file.

    Returns:
        `path` as a `Path`.

    Raises:
        ImportError: without the extra `onnx`.
    """
    try:
        import tf2onnx
    except ImportError as error:
        raise ImportError(_MISSING) from error
    size = model.image_size
    signature = [
        tf.TensorSpec((None, size, size, 3), tf.float32, "image"),
        tf.TensorSpec((None, model.max_tokens), tf.int32, "token_ids"),
    ]
    network = network_function(model)

    def named(image, token_ids):
        mask, prior = network(image, token_ids)
        return {"mask": mask, "prior": prior}

    with _unrolled(model), _in_place(), _errors_alone("tf2onnx"), _errors_alone("tensorflow"):
        function = tf.function(named, autograph=False, input_signature=signature)
        proto, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    if model.vocabulary is not None:
        proto.metadata_props.add(key=ONNX_KEY, value=ModelSettings.of_model(model).to_json())
    path = Path(path)
    path.write_bytes(proto.SerializeToString(deterministic=True))
    return path


def check_onnx(path, model, batch=2, seed=0):
    """Runs the file beside the Keras model on random images and sentences, one of them empty.

    Returns:
        float, the largest difference of a probability.

    Raises:
        ExportError: if it is above 1e-4.
        ImportError: without the extra `onnx`.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(_MISSING) from error
    random = np.random.default_rng(seed)
    image = random.random((batch, model.image_size, model.image_size, 3), dtype=np.float32)
    token_ids = random.integers(1, model.vocabulary_size, (batch, model.max_tokens), dtype=np.int32)
    token_ids[:, model.max_tokens // 2 :] = 0
    token_ids[-1] = 0
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; the warnings are about the converter's choice of attributes
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    found = session.run(["mask", "prior"], {"image": image, "token_ids": token_ids})
    expected = network_function(model)(tf.constant(image), tf.constant(token_ids))
    difference = max(float(np.abs(a - b.numpy()).max()) for a, b in zip(found, expected, strict=True))
    if not difference <= TOLERANCE:
        raise ExportError(f"{path}: probabilities differ from the Keras model's by {difference:.2g}, over {TOLERANCE}")
    return difference


@contextlib.contextmanager
def _in_place():
    """Within the block, the converter's passes work on the graph itself.

    By default it copies the graph with all weights before each pass, in order to survive a failing one: minutes and
    gigabytes for a model of the paper's size. Here a failing pass should fail the export.
    """
    name = "TF2ONNX_CATCH_ERRORS"
    before = os.environ.get(name)
    os.environ[name] = "FALSE"
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


@contextlib.contextmanager
def _errors_alone(name):
    """Within the block, a logger's warnings are held back: the converter's are about graphs of TensorFlow 1."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _unrolled(model):
    """Within the block, both GRUs of the sentence encoder are written out when they are traced."""
    encoder = model.sentence_encoder
    before = [(gru, gru.unroll) for gru in (encoder.forward_gru, encoder.backward_gru)]
    try:
        for gru, _ in before:
            gru.unroll = True
        yield
    finally:
        for gru, unroll in before:
            gru.unroll = unroll
