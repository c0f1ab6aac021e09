"""Whether the batch norms of a model take their statistics over all replicas."""

import keras

from lts_keras.layers.batch_norm import BatchNormalization
from lts_keras.layers.tensorflow_paths import replicas_in_scope

__all__ = ["synchronize_batch_norm"]


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
            layer.synchronized = layer.synchronized or replicas_in_scope() > 1
