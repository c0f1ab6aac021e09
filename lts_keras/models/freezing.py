"""Which parts of a network train, and how that survives saving."""

import keras

from lts_keras.config.errors import ConfigError
from lts_keras.layers.conv_block import ConvBlock

__all__ = ["freeze_backbone", "restore_flags", "switch"]

_CONVOLUTIONS = (
    ConvBlock,
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
)


def freeze_backbone(model, trainable):
    """Sets which layers of a backbone train. Batch norm of a frozen layer runs in inference mode.

    Args:
        model: `keras.Model`.
        trainable: `"all"`; `"none"`; or `"last_two"`: the last two convolutions in graph order, and what has weights
            behind the first of them, which is their batch norm.

    Raises:
        ConfigError: for another value of `trainable`.
    """
    if trainable not in ("last_two", "none", "all"):
        raise ConfigError(f"trainable_backbone must be 'last_two', 'none' or 'all'. Received: {trainable!r}")
    # A model's flag switches its layers too, so it comes first; it stays on where any of them trains.
    switch(model, trainable != "none")
    if trainable != "last_two":
        return
    layers = list(_leaves(model))
    places = [place for place, layer in enumerate(layers) if isinstance(layer, _CONVOLUTIONS)]
    first = places[-2] if len(places) > 1 else 0
    for layer in layers[:first]:
        switch(layer, False)


def switch(layer, trainable):
    """Sets a layer's flag and those of all its parts.

    On TensorFlow, setting the value that the flag has is passed over, though parts may have another: those of a
    layer that was frozen when saved come back trainable. So the flag is moved away first.
    """
    layer.trainable = not trainable
    layer.trainable = trainable


def restore_flags(layer):
    """Freezes the variables of every part that says it is frozen.

    A layer made with `trainable=False`, or from the config of a frozen one, gets trainable variables from Keras, and a
    model around it trains them.
    """
    if not layer.trainable:
        switch(layer, False)
        return
    for part in layer._flatten_layers(recursive=False, include_self=False):
        restore_flags(part)


def _leaves(model):
    """The layers of a model in graph order, those of nested models in their place."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer)
        else:
            yield layer
