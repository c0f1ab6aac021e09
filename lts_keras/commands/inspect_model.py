"""`lts inspect`: what a model is made of, and what weight files would give it, as tables."""

from pathlib import Path

import numpy as np
from rich.console import Console, Group
from rich.table import Table

from lts_keras.commands.inspect_data import inspect_data
from lts_keras.config.errors import ConfigError
from lts_keras.data.prepare.folder import data_folder
from lts_keras.data.text import read_vocabulary
from lts_keras.layers.darknet import NUM_BACKBONE_CONVOLUTIONS, convolutions
from lts_keras.models.backbones import STRIDES, backbone_channels, make_backbone
from lts_keras.models.from_config import model_from_config
from lts_keras.weights.darknet import read_darknet
from lts_keras.weights.glove import load_glove, read_glove

__all__ = [
    "PARTS",
    "count_parameters",
    "glove_table",
    "inspect_data",
    "inspect_glove",
    "inspect_model",
    "inspect_weights",
    "model_table",
    "weights_table",
]

PARTS = ("backbone", "sentence_encoder", "fusion", "locator", "segmentation_head")
_SHOWN_WORDS = 40


def inspect_model(config, workdir=None):
    """Prints the parameter table of the model that `lts train` would start with; weights need not be given.

    Args:
        config: `Config`.
        workdir: `Path` of a work directory; the vocabulary of its prepared data sizes the embedding.

    Raises:
        WeightsError, ConfigError: as `model_from_config`.
    """
    vocabulary, weights = _vocabulary(config, workdir), config.weights
    glove = weights.glove if weights.glove and vocabulary is not None else "random"
    given = weights.model_copy(update={"backbone": weights.backbone or "random", "glove": glove})
    config = config.model_copy(update={"weights": given})
    _print(model_table(model_from_config(config, vocabulary)))


def inspect_weights(config, workdir=None):
    """Prints what is in the file `weights.backbone` and where it goes in the backbone of `config`; see above."""
    path = _required(config.weights.backbone, "weights.backbone")
    _print(weights_table(path, extra_convs=config.model.extra_convs))


def inspect_glove(config, workdir=None):
    """Prints how much of the vocabulary in `workdir` the file `weights.glove` covers; see above."""
    path = _required(config.weights.glove, "weights.glove")
    _print(glove_table(path, _vocabulary(config, workdir), dim=config.model.embedding_dim))


def count_parameters(layer):
    """Returns `(total, trainable)` numbers of a layer, batch norm statistics counted in the total."""
    trainable = sum(int(np.prod(variable.shape)) for variable in layer.trainable_weights)
    return sum(int(np.prod(variable.shape)) for variable in layer.weights), trainable


def model_table(model):
    """Returns the parameters of an `LTS` or a `Refiner` by part, as a `rich` table."""
    table = Table(title=f"{model.name}: {model.backbone.name}" if hasattr(model, "backbone") else model.name)
    table.add_column("part")
    table.add_column("class")
    for column in ("parameters", "trainable", "frozen"):
        table.add_column(column, justify="right")
    for name in PARTS:
        part = getattr(model, name, None)
        if part is not None:
            _add_counts(table, name, part)
    table.add_section()
    _add_counts(table, "all", model)
    return table


def weights_table(path, extra_convs=True):
    """Returns what a backbone's file holds, as something `rich` prints.

    Args:
        path: path of a Darknet weights file or a `.keras` file.
        extra_convs: bool. Whether Darknet-53 has its six extra convolutions.

    Raises:
        WeightsError: for a file that cannot be used.
    """
    path = Path(path)
    if path.suffix == ".keras":
        return _maps_table(path)
    return _darknet_table(path, extra_convs)


def glove_table(path, vocabulary=None, dim=None):
    """Returns what a GloVe file holds and, with a vocabulary, how much of it is covered; `rich` prints it.

    Raises:
        WeightsError: for a file that cannot be used, naming the line.
    """
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    if vocabulary is None:
        _, num_lines = read_glove(path, (), dim)
        return Group(
            f"{path}: {num_lines:,} vectors", "No vocabulary: prepare the data first to see how much of it is covered."
        )
    matrix, report = load_glove(path, vocabulary, dim=dim or 300)
    table.add_row("vectors", f"{report.num_lines:,} of {report.dim} numbers")
    table.add_row("words of the vocabulary", f"{report.num_words:,}")
    table.add_row("found", f"{report.num_found:,} ({report.coverage:.1%})")
    table.add_row("random", f"{len(report.missing):,}")
    table.add_row("standard deviation", f"{matrix[1:].std():.3f}")
    if not report.missing:
        return Group(str(path), table)
    more = f" and {len(report.missing) - _SHOWN_WORDS:,} more" if len(report.missing) > _SHOWN_WORDS else ""
    return Group(str(path), table, f"Without a vector: {' '.join(report.missing[:_SHOWN_WORDS])}{more}")


def _darknet_table(path, extra_convs):
    """One row for each stage: convolutions in the network, in the file, and what their kernels are like."""
    blocks = convolutions(make_backbone("darknet53", extra_convs=extra_convs))
    layers = [(block.name, tuple(block.conv.kernel.shape)) for block in blocks]
    report, weights = read_darknet(path, layers)
    table = Table()
    table.add_column("stage")
    for column in ("layers", "loaded", "random", "values loaded", "kernel deviation"):
        table.add_column(column, justify="right")
    stages = {}
    for index, (name, _) in enumerate(layers):
        stage = "extra" if index >= NUM_BACKBONE_CONVOLUTIONS else name.partition("_residuals")[0].removesuffix("_down")
        stages.setdefault(stage, []).append(index)
    for stage, indices in stages.items():
        table.add_row(stage, *_stage_cells([weights[index] for index in indices if index < len(weights)], len(indices)))
    table.add_section()
    table.add_row("all", *_stage_cells(weights, len(layers)))
    return Group(table, f"{report}, {report.seen:,} images seen")


def _stage_cells(loaded, count):
    """Cells of one row: numbers of convolutions, and what those in the file hold."""
    cells = [str(count), str(len(loaded)), str(count - len(loaded))]
    if not loaded:
        return [*cells, "0", ""]
    deviations = [float(arrays[4].std()) for arrays in loaded]
    size = sum(array.size for arrays in loaded for array in arrays)
    return [*cells, f"{size:,}", f"{min(deviations):.3f} .. {max(deviations):.3f}"]


def _maps_table(path):
    """The three maps of a `.keras` backbone and its size."""
    model = make_backbone(path, trainable="all")
    table = Table()
    table.add_column("map")
    for column in ("stride", "channels"):
        table.add_column(column, justify="right")
    for name, channels in backbone_channels(model).items():
        table.add_row(name, str(STRIDES[name]), f"{channels:,}")
    return Group(f"{path}: {model.name}, {count_parameters(model)[0]:,} parameters", table)


def _add_counts(table, name, layer):
    total, trainable = count_parameters(layer)
    table.add_row(name, type(layer).__name__, f"{total:,}", f"{trainable:,}", f"{total - trainable:,}")


def _vocabulary(config, workdir):
    path = data_folder(config, workdir) / "vocabulary.txt" if workdir else None
    return read_vocabulary(path) if path and path.is_file() else None


def _required(path, key):
    if path is None:
        raise ConfigError(f"{key} must name the file to show: add {key}=PATH to the command. Received: null")
    return path


def _print(renderable):
    # Words are shown as they are, brackets and colons too.
    Console(markup=False, emoji=False, highlight=False).print(renderable, soft_wrap=False)
