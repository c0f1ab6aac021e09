"""Callbacks of training: whole epochs kept, a loss that must stay finite, and when to end."""

import math
import time

import keras

from lts_keras.training.errors import NotFiniteError

__all__ = ["EndOfRun", "FiniteLoss", "KeepEpochs"]


class KeepEpochs(keras.callbacks.Callback):
    """Gives every whole epoch to the run state, which keeps it and its history.

    Keras' own `BackupAndRestore` writes the weights and the epoch one after the other, so that a kill between the two
    leaves a pair that does not fit, and has no seeds of dropout.

    Args:
        state: `RunState`.
    """

    def __init__(self, state):
        super().__init__()
        self.state = state

    def on_train_begin(self, logs=None):
        self._used = time.process_time()

    def on_epoch_end(self, epoch, logs=None):
        used, self._used = self._used, time.process_time()
        self.state.add(self.model, logs or {}, self._used - used)


class EndOfRun(keras.callbacks.Callback):
    """Ends training behind the epoch in which the run state finds a reason; stands behind `KeepEpochs`.

    Args:
        state: `RunState`.
        max_minutes: float. Processor time of all threads, also of the epochs before a kill; `None` for no limit.
        early_stop_epochs: int. Validations without a better `best_metric`; `None` for no limit.
        progress: function that takes a line of text.
    """

    def __init__(self, state, max_minutes=None, early_stop_epochs=None, progress=print):
        super().__init__()
        self.state = state
        self.max_minutes = max_minutes
        self.early_stop_epochs = early_stop_epochs
        self.progress = progress

    def on_epoch_end(self, epoch, logs=None):
        reason = self.state.end_reason(math.inf, self.max_minutes, self.early_stop_epochs)
        if reason:
            self.progress(f"{reason}; stopping behind epoch {epoch + 1}")
            self.model.stop_training = True


class FiniteLoss(keras.callbacks.Callback):
    """Ends training with a `NotFiniteError` as soon as the loss is not finite."""

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise NotFiniteError(
                f"the loss is {loss} at step {batch + 1} of epoch {self._epoch + 1}", self._epoch, batch
            )
