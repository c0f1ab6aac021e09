"""Callbacks of training: progress, a loss that must stay finite, a limit on processor time."""

import json
import math
import shutil
import time
from pathlib import Path

import keras

from lts_keras.utils.files import atomic_folder

__all__ = ["Backup", "EpochLines", "FiniteLoss", "ProcessorTimeLimit", "TrainingError"]


class TrainingError(RuntimeError):
    """Training that cannot go on; the message is one line."""


class Backup(keras.callbacks.Callback):
    """Keeps weights, optimizer state and epoch of the last whole epoch in one folder, replaced in one step.

    Keras' own `BackupAndRestore` writes the weights and the epoch one after the other, so that a kill between the two
    leaves a pair that does not fit.

    Args:
        folder: path of the backup.
    """

    def __init__(self, folder):
        super().__init__()
        self.folder = Path(folder)

    def restore(self, model):
        """Loads the backup, if there is one, into a compiled model; returns the number of whole epochs behind it."""
        state = self.folder / "epoch.json"
        if not state.exists():
            return 0
        model.optimizer.build(model.trainable_variables)
        model.load_weights(self.folder / "state.weights.h5")
        return json.loads(state.read_text())["epochs"]

    def on_epoch_end(self, epoch, logs=None):
        with atomic_folder(self.folder) as aside:
            self.model.save_weights(aside / "state.weights.h5")
            (aside / "epoch.json").write_text(json.dumps({"epochs": epoch + 1}))

    def remove(self):
        """Deletes the backup; for a training that ended."""
        shutil.rmtree(self.folder, ignore_errors=True)


class FiniteLoss(keras.callbacks.Callback):
    """Ends training with a `TrainingError` as soon as the loss is not finite."""

    def on_train_batch_end(self, batch, logs=None):
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at step {batch + 1} of the epoch; lower train.learning_rate or set train.clip_norm"
            )


class ProcessorTimeLimit(keras.callbacks.Callback):
    """Ends training after the epoch in which this process has used so many minutes of processor time.

    Args:
        minutes: float. Processor time of all threads, counted from the start of training.
        progress: function that takes a line of text.
    """

    def __init__(self, minutes, progress=print):
        super().__init__()
        self.minutes = minutes
        self.progress = progress

    def on_train_begin(self, logs=None):
        self._start = time.process_time()

    def on_epoch_end(self, epoch, logs=None):
        used = (time.process_time() - self._start) / 60
        if used > self.minutes and not self.model.stop_training:
            self.progress(f"train.max_minutes: {used:.1f} processor minutes used after epoch {epoch + 1}, stopping")
            self.model.stop_training = True


class EpochLines(keras.callbacks.Callback):
    """One line per epoch with what it gave and how long the rest will take.

    Args:
        epochs: int. Of the whole training.
        progress: function that takes a line of text.
    """

    def __init__(self, epochs, progress=print):
        super().__init__()
        self.epochs = epochs
        self.progress = progress
        self._started = None

    def on_epoch_begin(self, epoch, logs=None):
        if self._started is None:
            self._started, self._first = time.monotonic(), epoch

    def on_epoch_end(self, epoch, logs=None):
        seconds = (time.monotonic() - self._started) / (epoch + 1 - self._first)
        logs = logs or {}
        names = ("loss", "mask_mean_iou", "prior_localization_accuracy", "val_mask_mean_iou")
        names = [*names, "val_prior_localization_accuracy"]
        values = "  ".join(f"{name} {logs[name]:.4g}" for name in names if name in logs)
        left = seconds * (self.epochs - epoch - 1)
        self.progress(f"epoch {epoch + 1}/{self.epochs}  {values}  {seconds:.1f} s, {left:.0f} s left")
