"""Training: `model.fit` on prepared data, on any number of devices, going on where it was cut off."""

import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import keras
import yaml

from lts_keras.config.errors import ConfigError
from lts_keras.data.features.configured import configured_features
from lts_keras.data.prepare.folder import data_folder, is_of_other_code
from lts_keras.data.text import read_vocabulary
from lts_keras.training import worker_loop
from lts_keras.training.callbacks import EndOfRun, FiniteLoss, KeepEpochs
from lts_keras.training.datasets import count_steps
from lts_keras.training.devices import check_batch, make_strategy, num_workers
from lts_keras.training.errors import NotFiniteError, TrainingError
from lts_keras.training.parts import Parts
from lts_keras.training.progress import ProgressBar
from lts_keras.training.refiner_parts import default_parts, reading_errors
from lts_keras.training.run_record import write_run_record
from lts_keras.training.run_state import deciding_values
from lts_keras.training.workers import chief_first, is_chief, worker_errors
from lts_keras.utils.files import atomic_folder, atomic_write, sweep

__all__ = ["train"]

_TRAINING_FILE = "training.json"
"""In the preset: which training and which of its epochs it is, and with what configuration."""


def train(config, workdir, progress=print, parts=None):
    """Trains the model of a configuration; started again after a kill it goes on behind the last whole epoch.

    Args:
        config: `Config`.
        workdir: folder with `data/`, as `lts prepare` leaves it. `train/preset/`, `train/logs/` (TensorBoard),
            `train/history.json`, `train/run.json` and `train/config.yaml` are written there.
        progress: function that takes a line of text.
        parts: `Parts`, to replace some of its own; all of the paper's if `None`.

    Returns:
        `Path` of the preset.

    Raises:
        DataError: no prepared data.
        ConfigError: settings that this machine cannot serve.
        TrainingError: a loss or weights that are not finite, or an epoch that cannot be written.
    """
    configured_features(config)  # found wrong before anything else
    options, parts = config.train, parts or default_parts(config)
    data_dir, folder = data_folder(config, workdir), Path(workdir) / "train"
    if is_of_other_code(data_dir):
        progress("the data was prepared by other code, which may have read words otherwise: run `lts prepare` again")
    steps = count_steps(config, data_dir)
    strategy = make_strategy(options.num_devices, progress)
    _check_devices(options, strategy.num_replicas_in_sync)
    with chief_first(strategy):
        state = parts.run_state(
            folder,
            deciding_values(config, data_dir) | parts.replaced(),
            keep=options.keep_backups,
            best_metric=options.best_metric,
            best_mode=options.best_mode,
            writes=is_chief(strategy),
            progress=progress,
        )
        if state.writes:
            sweep(folder)
    run = _Run(config, data_dir, folder, strategy, state, steps, parts, progress)
    reason = run.end_reason()
    if reason and run.preset_is_current():
        progress(f"already trained: {reason}")
        run.write_beside()
        return folder / "preset"
    with worker_errors(strategy), reading_errors(config):
        if not reason:
            run.fit()
        return run.finish()


def _check_devices(options, num_replicas):
    check_batch(options.batch_size, num_replicas)
    if num_replicas == 1:
        return
    for key in ("jit_compile", "accumulation_steps"):
        if getattr(options, key) not in (False, 1):
            raise ConfigError(
                f"train.{key} works on one device alone, and there are {num_replicas} replicas; "
                f"set train.num_devices=1. Received: {getattr(options, key)}"
            )


@dataclasses.dataclass
class _Run:
    """One call of `train`."""

    config: object
    data_dir: Path
    folder: Path
    strategy: object
    state: object
    steps: int
    parts: Parts
    progress: Callable
    model: object = None

    def __post_init__(self):
        self._started = time.monotonic()

    def end_reason(self):
        """Why there is nothing to train, or `None`."""
        options = self.config.train
        return self.state.end_reason(options.epochs, options.max_minutes, options.early_stop_epochs)

    def fit(self):
        """Trains to the end, led back to the last whole epoch as often as the configuration allows."""
        self._record("running")
        try:
            while True:
                datasets = self._start()
                try:
                    self._fit_once(datasets)
                    return
                except NotFiniteError as error:
                    self._roll_back(error, datasets)
        except Exception as error:
            self._record(f"failed: {' '.join(str(error).split())[:500]}")
            raise

    def _start(self):
        """Model, optimizer and data as they were behind the last whole epoch."""
        options, state = self.config.train, self.state
        self._make_model()
        if state.epochs:
            self.progress(f"going on behind epoch {state.epochs} of {options.epochs}")
            state.say_code()
        datasets = self.parts.make_datasets(self.config, self.data_dir, self.model, state.epochs, self.progress)
        self.progress(
            f"training on {self.steps} batches of {options.batch_size} an epoch ({options.sampling}), {options.epochs} "
            f"epochs, {self.strategy.num_replicas_in_sync} replica(s), "
            f"{sum(math.prod(one.shape) for one in self.model.trainable_variables):,} trainable parameters"
        )
        return datasets

    def _make_model(self):
        # Not 0: with the global seed 0, TensorFlow compares a data set's seed with 0 in Python, also where it is a
        # tensor.
        keras.utils.set_random_seed(self.config.seed + 1)
        vocabulary = read_vocabulary(self.data_dir / "vocabulary.txt")
        rate = self.config.train.learning_rate * 0.5 ** len(self.state.rollbacks)
        train = self.config.train.model_copy(update={"learning_rate": rate})
        with self.strategy.scope():
            self.model = self.parts.make_model(self.config, vocabulary, self.progress)
            self.parts.compile_model(self.model, self.config.model_copy(update={"train": train}), self.steps)
            if self.state.epochs:
                self.state.restore(self.model)

    def _fit_once(self, datasets):
        options, progress = self.config.train, self.progress
        folder = self.folder if self.state.writes else None
        own = self.parts.make_callbacks(self.config, folder, datasets, self.steps, progress)
        arguments = {
            "epochs": options.epochs,
            "initial_epoch": self.state.epochs,
            "steps_per_epoch": self.steps,
            "validation_data": datasets.validation,
            "validation_freq": options.validation_every,
            # The epoch is kept first: one whose line is printed is one that a kill does not undo.
            "callbacks": [
                FiniteLoss(),
                KeepEpochs(self.state),
                *own,
                EndOfRun(self.state, options.max_minutes, options.early_stop_epochs, progress),
            ],
        }
        try:
            if num_workers() > 1:
                worker_loop.fit(self.model, datasets.train, strategy=self.strategy, **arguments)
            else:
                self.model.fit(datasets.train, shuffle=False, verbose=0, **arguments)
        finally:
            for callback in own:
                if isinstance(callback, ProgressBar):
                    callback.close()  # the line of an error starts clean

    def _roll_back(self, error, datasets):
        """Prepares the next try; raises `TrainingError` where no more are allowed."""
        line = str(error)
        if error.step is not None and datasets.batch_names:
            line += f", on {datasets.batch_names(error.epoch, error.step)}"
        kept = f"epoch {self.state.epochs} is kept" if self.state.epochs else "no epoch is whole yet"
        if len(self.state.rollbacks) >= self.config.train.max_rollbacks:
            advice = "lower train.learning_rate, set train.clip_norm, or allow train.max_rollbacks"
            raise TrainingError(f"{line}; {kept}; {advice}") from error
        self.state.roll_back()
        self.progress(f"{line}; {kept}: going on from there with half of the learning rate")

    def finish(self):
        """Writes the preset from the epoch that counts; returns its path."""
        state, preset = self.state, self.folder / "preset"
        if self.model is None:
            self._make_model()
        with self.strategy.scope():
            state.restore(self.model, state.best_epoch)
            if self.config.train.ema:
                self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        with chief_first(self.strategy):
            if state.writes:
                self._write_preset(preset)
        return preset

    def _write_preset(self, preset):
        state = self.state
        if self.config.train.best_metric:
            self.progress(f"the preset is epoch {state.best_epoch + 1}, best by {self.config.train.best_metric}")
        with atomic_folder(preset) as aside:
            self.model.save_to_preset(aside)
            made_from = {"run": state.run_id, "epoch": state.best_epoch + 1}
            made_from["config"] = self.config.model_dump(mode="json")
            (aside / _TRAINING_FILE).write_text(json.dumps(made_from, indent=1), encoding="utf-8")
        self.write_beside()
        self._record("finished")

    def preset_is_current(self):
        """Whether the preset is of this training's counting epoch and has the configured threshold."""
        made_from = self._made_from()
        return (
            made_from.get("run") == self.state.run_id
            and made_from.get("epoch") == self.state.best_epoch + 1
            and made_from["config"]["model"]["threshold"] == self.config.model.threshold
        )

    def _made_from(self):
        try:
            return json.loads((self.folder / "preset" / _TRAINING_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def write_beside(self):
        """Writes configuration and history beside the preset, from what the preset itself says."""
        if self.state.writes:
            resolved = yaml.safe_dump(self._made_from()["config"], sort_keys=False)
            atomic_write(self.folder / "config.yaml", resolved)
            atomic_write(self.folder / "history.json", json.dumps(self.state.history, indent=1))

    def _record(self, status):
        if self.state.writes:
            seconds = time.monotonic() - self._started
            write_run_record(
                self.folder / "run.json", self.config, self.data_dir, self.strategy, self.state, status, seconds
            )
