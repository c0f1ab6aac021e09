"""Backbones: any network that gives three maps at strides 8, 16 and 32, called c3, c4 and c5 here."""

import difflib
import inspect
import zipfile
from pathlib import Path

import keras
import numpy as np
from keras import ops

from lts_keras.config.errors import ConfigError
from lts_keras.layers.conv_block import ConvBlock
from lts_keras.layers.darknet import darknet53, darknet_tiny
from lts_keras.weights import WeightsError

__all__ = ["STRIDES", "backbone_channels", "freeze_backbone", "make_backbone"]

STRIDES = {"c3": 8, "c4": 16, "c5": 32}
PROBE_SIZE = 256
_CONVOLUTIONS = (
    ConvBlock,
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
)


def make_backbone(source="darknet53", extra_convs=True, trainable="last_two"):
    """Makes a model that gives the maps c3, c4 and c5 of an image in 0..1.

    Args:
        source: `"darknet53"`; `"darknet_tiny"`; the name of a function of `keras.applications`, built with random
            weights, its input scaling included; the path of a `.keras` file; or a `keras.Model`. The last two must
            take RGB in 0..1 and give three maps, as a dict, list or tuple; they are told apart by their size.
        extra_convs: bool. For `"darknet53"`: whether c5 passes YOLOv3's six further convolutions.
        trainable: `"last_two"`, `"none"` or `"all"`, see `freeze_backbone`.

    Returns:
        A `keras.Model` with outputs `{"c3", "c4", "c5"}` of shape `(batch, side / stride, side / stride, channels)`.

    Raises:
        ConfigError: for a name that is not known.
        WeightsError: for a file that cannot be read, or a model without maps at these three strides.
    """
    if isinstance(source, keras.Model):
        model = _with_three_maps(source, source.name)
    elif source == "darknet53":
        model = darknet53(extra_convs)
    elif source == "darknet_tiny":
        model = darknet_tiny()
    elif str(source).endswith(".keras"):
        model = _with_three_maps(_load(Path(source)), str(source))
    else:
        model = _application(str(source))
    freeze_backbone(model, trainable)
    return model


def backbone_channels(model):
    """Returns `{"c3": int, "c4": int, "c5": int}`, the channels of a backbone's maps."""
    return {name: model.output[name].shape[-1] for name in STRIDES}


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
    _switch(model, trainable != "none")
    if trainable != "last_two":
        return
    layers = list(_leaves(model))
    places = [place for place, layer in enumerate(layers) if isinstance(layer, _CONVOLUTIONS)]
    first = places[-2] if len(places) > 1 else 0
    for layer in layers[:first]:
        _switch(layer, False)


def _switch(layer, trainable):
    """Sets a layer's flag and those of all its parts.

    On TensorFlow, setting the value that the flag has is passed over, though parts may have another: those of a
    layer that was frozen when saved come back trainable. So the flag is moved away first.
    """
    layer.trainable = not trainable
    layer.trainable = trainable


def _leaves(model):
    """The layers of a model in graph order, those of nested models in their place."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer)
        else:
            yield layer


def _load(path):
    if not path.is_file():
        raise WeightsError(f"{path}: no such backbone file")
    if not zipfile.is_zipfile(path):
        raise WeightsError(f"{path}: not a .keras file, or cut short ({path.stat().st_size} bytes)")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # whatever a foreign file makes Keras raise is one wrong file to the user
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise WeightsError(f"{path}: Keras cannot load this model: {reason.strip()}") from error


def _with_three_maps(model, origin):
    """The same layers with outputs named c3, c4, c5, by decreasing size."""
    inputs = getattr(model, "inputs", None)  # a model that was never built has none
    if not inputs or len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[-1] != 3:
        shapes = [tuple(tensor.shape) for tensor in inputs or []]
        raise WeightsError(f"{origin}: a backbone has one input (batch, height, width, 3). Received: {shapes}")
    maps = keras.tree.flatten(model.output)
    probe = keras.Model(model.inputs, maps)
    shapes = _probe(probe)
    size = _probe_size(model)
    if any(len(shape) != 4 for shape in shapes) or sorted(shape[1] for shape in shapes) != [
        size // stride for stride in sorted(STRIDES.values(), reverse=True)
    ]:
        raise WeightsError(
            f"{origin}: a backbone gives three maps at strides 8, 16 and 32. "
            f"Received: {shapes} for an image of {size} x {size}"
        )
    ordered = [tensor for _, tensor in sorted(zip(shapes, maps, strict=True), key=lambda pair: -pair[0][1])]
    return keras.Model(model.inputs[0], dict(zip(STRIDES, ordered, strict=True)), name=model.name)


def _probe_size(model):
    return model.inputs[0].shape[1] or PROBE_SIZE


def _probe(model):
    """Shapes of the outputs, a list, for one square image; nothing is computed."""
    size = _probe_size(model)
    spec = model.compute_output_spec(keras.KerasTensor((1, size, size, 3), dtype=model.inputs[0].dtype))
    return [tuple(tensor.shape) for tensor in keras.tree.flatten(spec)]


def _applications():
    """`{name: (builder, preprocess_input)}` of keras.applications."""
    found = {}
    for name, builder in inspect.getmembers(keras.applications, inspect.isfunction):
        module = getattr(keras.applications, builder.__module__.rpartition(".")[2], None)
        if hasattr(module, "preprocess_input"):
            found[name] = (builder, module.preprocess_input)
    return found


def _application(name):
    """A network of keras.applications, cut at the last layer of each stride."""
    known = _applications()
    if name not in known:
        near = difflib.get_close_matches(name, ["darknet53", *known], n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"model.backbone must be 'darknet53', 'file', a path ending in .keras or a name in keras.applications. "
            f"Received: {name!r}{hint}"
        )
    builder, preprocess = known[name]
    image = keras.Input((None, None, 3), name="image")
    try:
        model = builder(include_top=False, weights=None, input_tensor=_scale(image, preprocess))
        taps = _find_taps(model, name)
    except WeightsError:
        raise
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{name}: does not take images whose sides are multiples of 32: {reason}") from error
    return keras.Model(image, taps, name=name.lower())


def _scale(image, preprocess):
    """RGB in 0..1 -> what the network was made for, read off from its own `preprocess_input`.

    That function is affine in the colours, up to the order of the channels, so four colours determine it.
    """
    colors = np.concatenate([np.zeros((1, 3)), 255 * np.eye(3)]).astype("float32").reshape(4, 1, 1, 3)
    black, *pure = np.asarray(preprocess(colors.copy(), data_format="channels_last")).reshape(4, 3)
    matrix = np.stack(pure) - black
    if not matrix[0, 0]:
        image = ops.flip(image, axis=-1)  # made for BGR
        matrix = matrix[::-1]
    scale, offset = np.diag(matrix).tolist(), black.tolist()
    return keras.layers.Rescaling(scale, offset, name="input_scaling")(image)


def _find_taps(model, name):
    """The last map of each stride, `{"c3": tensor, ...}`.

    Where several layers share a stride, the last one that every path of the graph passes is taken: behind it the next
    stride begins, and what comes later is one branch of a residual unit.
    """
    layers = [layer for layer in model.layers if len(getattr(layer.output, "shape", ())) == 4]
    shapes = _probe(keras.Model(model.inputs, [layer.output for layer in layers]))
    bottlenecks = _bottlenecks(model)
    taps = {}
    for key, stride in STRIDES.items():
        side = PROBE_SIZE // stride
        at_stride = [layer for layer, shape in zip(layers, shapes, strict=True) if shape[1:3] == (side, side)]
        passed = [layer for layer in at_stride if layer.name in bottlenecks]
        if not at_stride:
            raise WeightsError(f"{name}: no map at stride {stride}, so it cannot be a backbone")
        taps[key] = (passed or at_stride)[-1].output
    return taps


def _bottlenecks(model):
    """Names of the layers through which every path from the image to the output leads."""
    places = {id(layer.output): place for place, layer in enumerate(model.layers)}
    reach, names = 0, set()  # reach: the furthest layer that takes something from the layers seen so far
    readers = [0] * len(model.layers)
    for place, layer in enumerate(model.layers):
        for tensor in keras.tree.flatten(layer.input):
            if id(tensor) in places:
                source = places[id(tensor)]
                readers[source] = max(readers[source], place)
    for place, layer in enumerate(model.layers):
        if reach <= place:
            names.add(layer.name)
        reach = max(reach, readers[place])
    return names
