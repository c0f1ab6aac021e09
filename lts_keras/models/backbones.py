"""Backbones: any network that gives three maps at strides 8, 16 and 32, called c3, c4 and c5 here."""

from pathlib import Path

import keras

from lts_keras.layers.darknet import darknet53, darknet_tiny
from lts_keras.models.applications import application
from lts_keras.models.freezing import freeze_backbone, restore_flags
from lts_keras.models.three_maps import STRIDES, load_network, with_three_maps
from lts_keras.utils.policies import replace_policy

__all__ = ["STRIDES", "backbone_channels", "freeze_backbone", "make_backbone"]


def make_backbone(source="darknet53", extra_convs=True, trainable="last_two", dtype=None):
    """Makes a model that gives the maps c3, c4 and c5 of an image in 0..1.

    Args:
        source: `"darknet53"`; `"darknet_tiny"`; the name of a function of `keras.applications`, built with random
            weights, its input scaling included; the path of a `.keras` file; or a `keras.Model` or layer. The last
            three must take RGB in 0..1 and give three maps, as a dict, list or tuple; they are told apart by their
            size.
        extra_convs: bool. For `"darknet53"`: whether c5 passes YOLOv3's six further convolutions.
        trainable: `"last_two"`, `"none"` or `"all"`, see `freeze_backbone`; `None` leaves the flags as they are.
        dtype: dtype policy or its name. Not given, a Darknet or a network of `keras.applications` has the global one,
            a file or model its own.

    Returns:
        A `keras.Model` with outputs `{"c3", "c4", "c5"}` of shape `(batch, side / stride, side / stride, channels)`.

    Raises:
        ConfigError: for a name that is not known.
        WeightsError: for a file that cannot be read, or a model without maps at these three strides.
    """
    if isinstance(source, keras.layers.Layer):
        model = _with_policy(with_three_maps(source, source.name), dtype)
    elif source == "darknet53":
        model = darknet53(extra_convs, dtype=dtype)
    elif source == "darknet_tiny":
        model = darknet_tiny(dtype=dtype)
    elif str(source).endswith(".keras"):
        model = _with_policy(with_three_maps(load_network(Path(source)), str(source)), dtype)
    else:
        model = _with_policy(application(str(source)), dtype)
    if trainable is not None:
        freeze_backbone(model, trainable)
    return model


def backbone_channels(model):
    """Returns `{"c3": int, "c4": int, "c5": int}`, the channels of a backbone's maps."""
    return {name: model.output[name].shape[-1] for name in STRIDES}


def _with_policy(model, dtype):
    """The model itself, or a copy whose layers all have another dtype policy."""
    if dtype is None:
        return model
    name = keras.dtype_policies.get(dtype).name
    layers = [layer for layer in model._flatten_layers(include_self=False) if layer.weights]
    if all(layer.dtype_policy.name == name for layer in layers):
        return model
    config = replace_policy(keras.saving.serialize_keras_object(model), name)
    copy = keras.saving.deserialize_keras_object(config)
    restore_flags(copy)
    copy.set_weights(model.get_weights())
    return copy
