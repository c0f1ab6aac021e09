"""How a training shows where it is: a bar within the epoch on a terminal, lines where there is none."""

import atexit
import builtins
import time

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

__all__ = ["ProgressBar"]

_SHOWN = (
    "loss",
    "mask_mean_iou",
    "prior_localization_accuracy",
    "val_mask_mean_iou",
    "val_prior_localization_accuracy",
)
_SECONDS_BETWEEN_LINES = 30.0
_SECONDS_BETWEEN_REFRESHES = 0.2


class ProgressBar(keras.callbacks.Callback):
    """One line per epoch with what it gave; within the epoch loss, images per second and the time left.

    Within the epoch that is a bar where the output is a terminal, and otherwise, or where the lines go to a function of
    the caller's, a line at most every 30 s. The first step of a training, which traces the model, counts neither in the
    images per second nor in the time left.

    Args:
        epochs: int. Of the whole training.
        steps: int. Of an epoch.
        images_per_step: int. The global batch.
        progress: function that takes a line of text.
        console: `rich.console.Console` to draw the bar on; standard output if `None`.
    """

    _drawn = None
    """The one callback whose bar is on the terminal: a second training in this process takes it over."""

    def __init__(self, epochs, steps, images_per_step, progress=print, console=None):
        super().__init__()
        self.epochs = epochs
        self.steps = steps
        self.images_per_step = images_per_step
        self.progress = progress
        self.console = console
        self._bar = self._task = None

    def on_train_begin(self, logs=None):
        self._traced = False
        self._step_seconds = 0.0
        self._between = []  # seconds of each epoch outside its steps: validation, backup

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch, self._done = epoch, 0
        self._began = self._counted_from = self._said = time.monotonic()
        self._not_counted = self._refreshed = 0
        self._start_bar()

    def on_train_batch_end(self, batch, logs=None):
        now, self._done = time.monotonic(), batch + 1
        if not self._traced:
            self._traced, self._counted_from, self._not_counted = True, now, self._done
        elif self._done > self._not_counted:
            self._step_seconds = (now - self._counted_from) / (self._done - self._not_counted)
        self._ended = now
        if self._bar:
            if now - self._refreshed > _SECONDS_BETWEEN_REFRESHES:
                self._refreshed = now
                self._refresh(self._state(logs))
        elif now - self._said > _SECONDS_BETWEEN_LINES and self._done < self.steps:
            self._said = now
            self.progress(f"epoch {self._epoch + 1}, step {self._done} of {self.steps}  {self._state(logs)}")

    def on_test_begin(self, logs=None):
        self._refresh("validation")

    def on_epoch_end(self, epoch, logs=None):
        self.close()
        now, logs = time.monotonic(), logs or {}
        ended = self._ended if self._done else now
        self._between.append(now - ended)
        values = "  ".join(f"{name} {float(logs[name]):.4g}" for name in _SHOWN if name in logs)
        self._done = self.steps
        told = f"epoch {epoch + 1}/{self.epochs}  {values}  {self._rate()}{now - self._began:.1f} s"
        self.progress(f"{told}, {_duration(self._seconds_left())} left")

    def on_train_end(self, logs=None):
        self.close()

    def close(self):
        """Takes the bar off the terminal; for a training that ended with an error."""
        if self._bar:
            self._bar.stop()
            self._bar = None
            atexit.unregister(self.close)
            ProgressBar._drawn = None

    def _start_bar(self):
        # Looked at now and not when made: the output may have been redirected since.
        console = self.console or Console()
        if self.progress is not builtins.print or not console.is_terminal or console.is_dumb_terminal:
            return
        if ProgressBar._drawn:
            ProgressBar._drawn.close()
        columns = (
            TextColumn(f"epoch {self._epoch + 1}/{self.epochs}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.description}", markup=False),
        )
        # Drawn by the steps alone: a thread of its own would compete with them.
        self._bar = Progress(*columns, console=console, auto_refresh=False, transient=True)
        self._task = self._bar.add_task("", total=self.steps)
        self._bar.start()
        ProgressBar._drawn = self
        atexit.register(self.close)

    def _refresh(self, text):
        if self._bar:
            self._bar.update(self._task, completed=self._done, description=text, refresh=True)

    def _state(self, logs):
        loss = (logs or {}).get("loss")
        told = "" if loss is None else f"loss {float(loss):.4g}  "
        return f"{told}{self._rate()}{_duration(self._seconds_left())} left"

    def _rate(self):
        return f"{self.images_per_step / self._step_seconds:.3g} images/s, " if self._step_seconds else ""

    def _seconds_left(self):
        """Of the whole training: the steps to come, and what epochs take beside their steps; `None` if not known."""
        if not self._step_seconds:
            return None
        epochs = self.epochs - self._epoch - 1
        between = sum(self._between) / len(self._between) if self._between else 0.0
        running = between if self._done < self.steps else 0.0
        return (self.steps - self._done + epochs * self.steps) * self._step_seconds + epochs * between + running


def _duration(seconds):
    """`12 s`, `3 min`, `2 h 05 min`."""
    if seconds is None:
        return "?"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
