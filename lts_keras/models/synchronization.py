"""Whether the batch norms of a model take their statistics over all replicas."""

import keras

from lts_keras.layers.batch_norm import BatchNormalization

__all__ = ["num_replicas", "synchronize_batch_norm"]


def num_replicas():
    """Replicas of the strategy in whose scope this is called; 1 without one."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def synchronize_batch_norm(model, synchronized):
    """Sets every batch norm of a model.

    Args:
        model: `keras.Model`.
        synchronized: bool, or `None`: this package's layers decide where they run; Keras' own, of a foreign backbone,
            are synchronized where the strategy in scope has more than one replica.
    """
    for layer in model._flatten_layers():
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
        if synchronized is not None:
            layer.synchronized = synchronized
        elif not isinstance(layer, BatchNormalization):
            layer.synchronized = layer.synchronized or num_replicas() > 1
