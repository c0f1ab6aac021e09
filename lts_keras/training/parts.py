"""The parts of a training that can be replaced: model, compile, data sets, callbacks, run state."""

import dataclasses
import functools
from collections.abc import Callable

import keras

from lts_keras.losses import BoxSupervision, lts_losses
from lts_keras.metrics import lts_metrics
from lts_keras.models.from_config import model_from_config
from lts_keras.training.datasets import make_datasets
from lts_keras.training.loss_scale import decide_together
from lts_keras.training.optimizers import make_optimizer
from lts_keras.training.progress import ProgressBar
from lts_keras.training.run_state import RunState
from lts_keras.training.tensorboard import Pictures

__all__ = ["Parts", "compile_model", "make_callbacks"]


def compile_model(model, config, steps_per_epoch):
    """Compiles with the paper's losses, all metrics and the configured optimizer.

    Args:
        model: `LTS`.
        config: `Config`.
        steps_per_epoch: int.
    """
    optimizer = make_optimizer(config.train, steps_per_epoch, model, config.model.backbone_learning_rate_multiplier)
    boxes = config.train.box_supervision
    supervision = None if boxes is None else BoxSupervision(boxes.projection, boxes.pairwise, name="box_mask")
    model.supervises_boxes = boxes is not None
    losses = lts_losses(config.train.location_weight, config.train.loss_reduction, supervision)
    metrics = lts_metrics(model.threshold)
    model.compile(optimizer=optimizer, weighted_metrics=metrics, jit_compile=config.train.jit_compile, **losses)
    decide_together(model.optimizer)


def make_callbacks(config, folder, datasets, steps_per_epoch, progress=print):
    """Callbacks beside those that keep epochs and end the training.

    Args:
        config: `Config`.
        folder: path, `train/` of the work directory, where TensorBoard's log goes to `logs/`; `None` on a further
            machine, which writes nothing.
        datasets: `Datasets`.
        steps_per_epoch: int.
        progress: function that takes a line of text.

    Returns:
        List of Keras callbacks.
    """
    options, callbacks = config.train, []
    if folder:
        callbacks += [
            Pictures(folder / "logs", datasets.pictured, validates=datasets.validation is not None),
            ProgressBar(options.epochs, steps_per_epoch, options.batch_size, progress),
        ]
    if options.ema:
        # Validation uses the averaged weights; training goes on with its own.
        callbacks.append(keras.callbacks.SwapEMAWeights(swap_on_epoch=False))
    return callbacks


@dataclasses.dataclass(frozen=True)
class Parts:
    """The parts of `train` that a caller can replace one by one; all else stays, going on after a kill included.

    Which functions they are decides the training, by name: with another one it starts anew.

    Attributes:
        make_model: function `(config, vocabulary, progress)` -> `LTS` with its starting weights.
        compile_model: function `(model, config, steps_per_epoch)` that compiles the model.
        make_datasets: function `(config, data_dir, model, first_epoch, progress)` -> `Datasets`.
        make_callbacks: function `(config, folder, datasets, steps_per_epoch, progress)` -> list of callbacks.
        run_state: `RunState` or a class with its methods.
    """

    make_model: Callable = model_from_config
    compile_model: Callable = compile_model
    make_datasets: Callable = make_datasets
    make_callbacks: Callable = make_callbacks
    run_state: Callable = RunState

    def replaced(self):
        """`{name: function}` of the parts that decide the weights and are not this library's own, as text."""
        values = {}
        for name in ("make_model", "compile_model", "make_datasets"):
            part = getattr(self, name)
            if part is not getattr(Parts, name):
                values[name] = _name(part)
        return {"parts": values} if values else {}


def _name(part):
    """A function's name, the same in every process; with its arguments where it was given some beforehand."""
    if isinstance(part, functools.partial):
        return f"{_name(part.func)}{part.args}{part.keywords}"
    named = part if hasattr(part, "__qualname__") else type(part)
    return f"{named.__module__}.{named.__qualname__}"
