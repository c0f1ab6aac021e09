"""Any network as a backbone: three maps at strides 8, 16 and 32, told apart by their size and named c3, c4, c5."""

import zipfile
from pathlib import Path

import keras

from lts_keras.weights import WeightsError

__all__ = ["PROBE_SIZE", "STRIDES", "load_network", "probe", "with_three_maps"]

STRIDES = {"c3": 8, "c4": 16, "c5": 32}
PROBE_SIZE = 256


def load_network(path):
    """Reads a `.keras` file in Keras' safe mode.

    Raises:
        WeightsError: naming the file, where it is missing, cut short or not such a file.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such backbone file")
    if not zipfile.is_zipfile(path):
        raise WeightsError(f"{path}: not a .keras file, or cut short ({path.stat().st_size} bytes)")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # whatever a foreign file makes Keras raise is one wrong file to the user
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise WeightsError(f"{path}: Keras cannot load this model: {reason.strip()}") from error


def with_three_maps(network, origin):
    """The same layers with outputs named c3, c4, c5, by decreasing size.

    Args:
        network: `keras.Model`, or a layer of one's own whose call takes an image and gives the maps.
        origin: str, what errors call it.

    Returns:
        A functional `keras.Model`; `network` itself where it is one with these names already.

    Raises:
        WeightsError: for a network without one image as input, or without three maps at these strides.
    """
    inputs = getattr(network, "inputs", None)  # a model that is no graph, or was never built, has none
    if not inputs and not isinstance(network, keras.Sequential):
        network = _as_graph(network, origin)
        inputs = network.inputs
    if not inputs or len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[-1] != 3:
        shapes = [tuple(tensor.shape) for tensor in inputs or []]
        raise WeightsError(f"{origin}: a backbone has one input (batch, height, width, 3). Received: {shapes}")
    maps = network.outputs
    shapes = probe(keras.Model(network.inputs, maps))
    size = _probe_size(network)
    if any(len(shape) != 4 for shape in shapes) or sorted(shape[1] for shape in shapes) != [
        size // stride for stride in sorted(STRIDES.values(), reverse=True)
    ]:
        raise WeightsError(
            f"{origin}: a backbone gives three maps at strides 8, 16 and 32. "
            f"Received: {shapes} for an image of {size} x {size}"
        )
    ordered = [tensor for _, tensor in sorted(zip(shapes, maps, strict=True), key=lambda pair: -pair[0][1])]
    named = dict(zip(STRIDES, ordered, strict=True))
    if _names_maps(network, named):
        return network
    return keras.Model(network.inputs[0], named, name=network.name)


def _names_maps(network, named):
    """Whether the network gives its maps by these names already."""
    outputs = network.output if not isinstance(network, keras.Sequential) else None
    return isinstance(outputs, dict) and all(outputs.get(name) is named[name] for name in STRIDES)


def _as_graph(layer, origin):
    """A layer or model written as a class, wrapped as a functional model."""
    image = keras.Input((None, None, 3), name="image")
    try:
        return keras.Model(image, layer(image), name=layer.name)
    except Exception as error:  # whatever a foreign layer raises is one backbone that cannot be used
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise WeightsError(f"{origin}: does not take an image (batch, height, width, 3): {reason}") from error


def _probe_size(model):
    return model.inputs[0].shape[1] or PROBE_SIZE


def probe(model):
    """Shapes of the outputs, a list, for one square image; nothing is computed."""
    size = _probe_size(model)
    spec = model.compute_output_spec(keras.KerasTensor((1, size, size, 3), dtype=model.inputs[0].dtype))
    return [tuple(tensor.shape) for tensor in keras.tree.flatten(spec)]
