"""Reader of Darknet's own weight files: `darknet53.conv.74`, `yolov3.weights` and the like.

Such a file has no names and no shapes: a header, then for each convolution in network order beta, gamma, moving mean,
moving variance and the kernel in OIHW order, all little-endian float32. What is in it only shows when it is laid
against a network, so everything is checked that can be: the length, and that variances are not negative, which a
file of another network fails at once.
"""

import dataclasses
from pathlib import Path

import numpy as np

from lts_keras.layers.darknet import NUM_BACKBONE_CONVOLUTIONS, convolutions
from lts_keras.weights import WeightsError

__all__ = ["LoadReport", "load_darknet", "read_darknet"]

# darknet53.weights ends with ImageNet's classifier: a linear 1x1 convolution, 1000 biases and 1000 x 1024 weights.
_CLASSIFIER_VALUES = 1000 * (1 + 1024)


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What became of a Darknet file."""

    path: str
    version: str
    """`major.minor.revision` of the Darknet that wrote it."""
    seen: int
    """Images that it had been trained on."""
    loaded: tuple[str, ...]
    """Names of the layers whose weights are the file's, in network order."""
    left_random: tuple[str, ...]
    """Names of the layers for which the file holds nothing."""
    left_over: int
    """Values at the end of the file that no layer takes."""
    left_over_note: str = ""
    """What they are."""
    is_detector: bool = False
    """Whether convolutions of a detector stand behind the backbone's, as in `yolov3.weights`."""

    def __str__(self):
        text = f"{self.path} (Darknet {self.version}): {len(self.loaded)} convolutions loaded"
        if self.left_random:
            text += f", {len(self.left_random)} left random ({self.left_random[0]} to {self.left_random[-1]})"
        if self.left_over:
            text += f", {self.left_over:,} values left over ({self.left_over_note})"
        return text


def load_darknet(backbone, path):
    """Loads as many convolutions as a Darknet file holds. With an error, the model stays as it was.

    After Darknet-53's 52 convolutions `yolov3.weights` goes on with the head of its coarsest scale: five convolutions
    (1x1 to 512 channels and 3x3 to 1024 in turn) and the 3x3 in front of the first detections. These six are the
    extra convolutions of `darknet53(extra_convs=True)`; the detections and the finer scales are left over.

    Args:
        backbone: `keras.Model` from `darknet53`.
        path: path of the file.

    Returns:
        A `LoadReport`.

    Raises:
        WeightsError: for a file that is missing, empty, cut short inside a convolution, or of another network.
    """
    blocks = convolutions(backbone)
    report, weights = read_darknet(path, [(block.name, tuple(block.conv.kernel.shape)) for block in blocks])
    for block, (beta, gamma, mean, variance, kernel) in zip(blocks, weights, strict=False):
        block.norm.set_weights([gamma, beta, mean, variance])
        block.conv.set_weights([kernel])
    return report


def read_darknet(path, layers):
    """Reads a Darknet file without a model.

    Args:
        path: path of the file.
        layers: sequence of `(name, kernel shape HWIO)` in network order.

    Returns:
        Tuple of a `LoadReport` and a list, one item per convolution in the file, of float32 arrays
        `(beta, gamma, moving_mean, moving_variance, kernel)`; the kernel is HWIO.

    Raises:
        WeightsError: as `load_darknet`.
    """
    path = Path(path)
    if not layers:
        raise WeightsError(f"{path}: a Darknet file needs the backbone darknet53; this one has no such convolutions")
    version, seen, values = _open(path)
    weights, place = [], 0
    for index, (name, shape) in enumerate(layers):
        remaining = values.size - place
        if index == NUM_BACKBONE_CONVOLUTIONS and remaining == _CLASSIFIER_VALUES:
            break
        needed = 4 * shape[3] + int(np.prod(shape))
        if remaining == 0:
            break
        if remaining < needed:
            raise WeightsError(
                f"{path}: cut short, or of another network: it ends in the middle of convolution {index + 1} of "
                f"{len(layers)} ({name}), which has {needed} values. Received: {remaining}"
            )
        weights.append(_convolution(values[place : place + needed], shape, f"{path}: convolution {index + 1} ({name})"))
        place += needed
    if not weights:
        raise WeightsError(f"{path}: cut short: a header and no convolution")
    names = tuple(name for name, _ in layers)
    left_over = values.size - place
    note, is_detector = _what_is_left(len(weights), left_over, len(layers))
    report = LoadReport(
        str(path), version, seen, names[: len(weights)], names[len(weights) :], left_over, note, is_detector
    )
    return report, weights


def _what_is_left(num_loaded, left_over, num_layers):
    """What the values are that no layer takes, and whether the file is a detector's."""
    if num_loaded == NUM_BACKBONE_CONVOLUTIONS and left_over == _CLASSIFIER_VALUES:
        return "the ImageNet classifier", False
    note = "a detection head" if num_layers > NUM_BACKBONE_CONVOLUTIONS else "convolutions behind the backbone"
    beyond = num_loaded > NUM_BACKBONE_CONVOLUTIONS or left_over > 0
    return note if left_over else "", num_loaded >= NUM_BACKBONE_CONVOLUTIONS and beyond


def _open(path):
    """Returns version, number of images seen, and the values behind the header, mapped and not read."""
    try:
        size = path.stat().st_size
        header = np.fromfile(path, "<i4", count=3) if path.is_file() else np.zeros(0)
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the weights: {error.strerror or error}") from error
    if header.size < 3 or size < 16:
        what = f"{size} bytes are less than a header" if path.is_file() else "it is a folder"
        raise WeightsError(f"{path}: not a Darknet weights file: {what}")
    major, minor, revision = (int(number) for number in header)
    if not (0 <= major < 10 and 0 <= minor < 100 and 0 <= revision < 10000 and major + minor > 0):
        raise WeightsError(f"{path}: not a Darknet weights file: its header reads version {major}.{minor}.{revision}")
    # Darknet widened the count of images to 64 bits with version 0.2.
    wide = major * 10 + minor >= 2
    start = 20 if wide else 16
    if size < start or (size - start) % 4:
        raise WeightsError(f"{path}: cut short: {size} bytes are no whole number of float32 values behind the header")
    seen = int(np.fromfile(path, "<i8" if wide else "<i4", count=1, offset=12)[0])
    if seen < 0:
        raise WeightsError(f"{path}: not a Darknet weights file: its header reads {seen} images seen")
    values = np.memmap(path, "<f4", "r", offset=start) if size > start else np.zeros(0, "<f4")
    return f"{major}.{minor}.{revision}", seen, values


def _convolution(values, shape, place):
    """Splits the values of one convolution; refuses what cannot be a batch norm and a kernel."""
    height, width, channels, filters = shape
    norm = np.array(values[: 4 * filters], "float32").reshape(4, filters)
    kernel = np.array(values[4 * filters :], "float32").reshape(filters, channels, height, width)
    if not (np.isfinite(norm).all() and np.isfinite(kernel).all()):
        raise WeightsError(f"{place}: the file holds values that are not finite: damaged, or of another network")
    if norm[3].min() < 0:
        raise WeightsError(f"{place}: the file holds negative variances: damaged, or of another network")
    return (*norm, kernel.transpose(2, 3, 1, 0))
