"""Networks of `keras.applications` as backbones: where their maps are cut, and what colours they want."""

import difflib
import inspect

import keras
import numpy as np
from keras import ops

from lts_keras.config.errors import ConfigError
from lts_keras.models.three_maps import PROBE_SIZE, STRIDES, probe
from lts_keras.weights import WeightsError

__all__ = ["application"]


def _applications():
    """`{name: (builder, preprocess_input)}` of keras.applications."""
    found = {}
    for name, builder in inspect.getmembers(keras.applications, inspect.isfunction):
        module = getattr(keras.applications, builder.__module__.rpartition(".")[2], None)
        if hasattr(module, "preprocess_input"):
            found[name] = (builder, module.preprocess_input)
    return found


def application(name):
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
    shapes = probe(keras.Model(model.inputs, [layer.output for layer in layers]))
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
