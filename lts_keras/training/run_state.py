"""The state of a training: what decides it, what can be gone back to, its history, and whether it has ended."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np

from lts_keras.data.features.folder import open_features
from lts_keras.data.prepare.records import data_digest
from lts_keras.training.errors import NotFiniteError, TrainingError
from lts_keras.utils.files import atomic_folder, atomic_write, digest, sweep
from lts_keras.utils.version import code_version

__all__ = ["RunState", "deciding_values"]

_NOT_DECIDING = (
    "epochs",
    "num_devices",
    "jit_compile",
    "validation_split",
    "validation_every",
    "max_minutes",
    "max_cache_gib",
    "keep_backups",
    "best_metric",
    "best_mode",
    "early_stop_epochs",
    "max_rollbacks",
    "data_service",
)
"""Keys of `train` that do not change which weights an epoch ends with, beyond rounding."""
_EPOCH = re.compile(r"epoch-(\d+)")
_STATE_FILE, _VARIABLES_FILE = "state.json", "variables.npz"


def deciding_values(config, data_dir):
    """What decides the weights that a training ends with, as plain values.

    Not in it: where files lie (weights and data go by content), how long training lasts, validation, what is kept, and
    all that comes behind the training.

    Args:
        config: `Config`.
        data_dir: folder of prepared data.

    Returns:
        dict of plain values.
    """
    values = config.model_dump(mode="json")
    weights = {}
    for name in ("backbone", "glove"):
        value = values["weights"][name]
        path = Path(str(value))
        weights[name] = digest(path) if value is not None and path.is_file() else value
    if values["weights"]["glove_words"]:
        weights["glove_words"] = values["weights"]["glove_words"]
    features = {"features": open_features(config.data.features).digest} if config.data.features else {}
    return {
        "seed": values["seed"],
        "model": {key: value for key, value in values["model"].items() if key not in ("threshold", "variant")},
        "train": {key: value for key, value in values["train"].items() if key not in _NOT_DECIDING},
        "weights": weights,
        "data": data_digest(data_dir),
        **features,
    }


class RunState:
    """Whole epochs of one training, each in a folder of its own: weights, optimizer, seeds, and what came before.

    `<folder>/backups/<digest of what decides the training>/epoch-00007/`. Another training in the same work directory
    has another digest, so neither takes or deletes the other's. An epoch's folder appears in one step and older ones go
    afterwards, so there is no moment without a good one.

    Args:
        folder: path, `train/` of the work directory.
        deciding: dict of plain values, see `deciding_values`. A change in any of them is another training.
        keep: int. So many of the last epochs are kept, and the best one.
        best_metric: str. Key of an epoch's logs by which the best one is found; `None`: the last one counts.
        best_mode: `"max"` or `"min"`.
        writes: bool. `False` for a worker that reads alone.
        progress: function that takes a line of text.
    """

    def __init__(self, folder, deciding, *, keep=1, best_metric=None, best_mode="max", writes=True, progress=print):
        self.folder = Path(folder)
        self.deciding = deciding
        self.keep = keep
        self.best_metric = best_metric
        self.best_mode = best_mode
        self.writes = writes
        self.progress = progress
        text = json.dumps(deciding, sort_keys=True)
        self.run_id = hashlib.sha256(text.encode()).hexdigest()[:12]
        self.backups = self.folder / "backups" / self.run_id
        if writes:
            for place in (self.folder, self.folder / "backups", self.backups):
                sweep(place)
        self._read_last()
        if writes and not self.epochs:
            self._say_what_else_is_kept()

    def _read_last(self):
        """Takes over the last whole epoch's state; a new one where there is none."""
        self.values = {"epochs": 0, "history": {}, "processor_seconds": 0.0, "rollbacks": [], "code": []}
        for epoch in sorted(self._kept(), reverse=True):
            try:
                self.values = json.loads((self._place(epoch) / _STATE_FILE).read_text(encoding="utf-8"))
                return
            except (OSError, ValueError) as error:
                self.progress(f"{self._place(epoch)}: cannot be read, the epoch before is taken: {error}")

    def _say_what_else_is_kept(self):
        others = [path for path in sorted((self.folder / "backups").glob("*/epoch-*")) if path.parent != self.backups]
        if others:
            changed = self._differences(others[-1].parent)
            self.progress(
                f"another training's epochs stay in {others[-1].parent}, which differs in {changed}: starting anew"
            )

    def _differences(self, other):
        try:
            before = json.loads((other / "deciding.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return "what decides it"
        flat, flat_before = _flatten(self.deciding), _flatten(before)
        keys = sorted(key for key in flat.keys() | flat_before.keys() if flat.get(key) != flat_before.get(key))
        return ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")

    @property
    def epochs(self):
        """Number of whole epochs that are there."""
        return self.values["epochs"]

    @property
    def history(self):
        """`{"epoch": [0, 1, ...], name: [value or None, ...]}` of all whole epochs."""
        return {"epoch": list(range(self.epochs)), **self.values["history"]}

    @property
    def processor_seconds(self):
        """Processor time that all whole epochs took, also those before a kill."""
        return self.values["processor_seconds"]

    @property
    def rollbacks(self):
        """Numbers of epochs (from 0) that training was led back from since the start."""
        return self.values["rollbacks"]

    @property
    def best_epoch(self):
        """Number (from 0) of the epoch that counts: the best by `best_metric`, or else the last; `None` without any."""
        if not self.epochs:
            return None
        values = self.values["history"].get(self.best_metric) if self.best_metric else None
        seen = [(value, epoch) for epoch, value in enumerate(values or ()) if value is not None]
        if not seen:
            return self.epochs - 1
        sign = 1 if self.best_mode == "max" else -1
        return max(seen, key=lambda pair: (sign * pair[0], -pair[1]))[1]

    def end_reason(self, epochs, max_minutes=None, early_stop_epochs=None):
        """Why training has ended, as words; `None` where it goes on."""
        if self.epochs >= epochs:
            return f"all {epochs} epochs are there"
        if max_minutes and self.processor_seconds >= max_minutes * 60:
            return f"train.max_minutes: {self.processor_seconds / 60:.1f} processor minutes used"
        if early_stop_epochs and self.epochs:
            values = self.values["history"].get(self.best_metric, [])
            since = sum(value is not None for value in values[self.best_epoch + 1 :])
            if since >= early_stop_epochs:
                return f"train.early_stop_epochs: {self.best_metric} not better for {since} validations"
        return None

    def add(self, model, logs, processor_seconds):
        """Keeps one more whole epoch.

        Args:
            model: compiled `keras.Model` behind the epoch.
            logs: dict of the epoch's numbers.
            processor_seconds: float. Processor time of this epoch.

        Raises:
            NotFiniteError: a weight is not finite; the epochs before stay as they are.
            TrainingError: the epoch cannot be written, a full disk for example; the epochs before stay.
        """
        variables = _variables(model)
        arrays = {name: np.asarray(variable.numpy()) for name, variable in variables.items()}
        bad = next((name for name, array in arrays.items() if not _is_finite(array)), None)
        if bad:
            raise NotFiniteError(f"the values of {variables[bad].path} are not finite", self.epochs)
        self._count_epoch(logs, processor_seconds)
        if not self.writes:
            return
        place = self._place(self.epochs - 1)
        try:
            atomic_write(self.backups / "deciding.json", json.dumps(self.deciding, indent=1, sort_keys=True))
            with atomic_folder(place) as aside:
                with open(aside / _VARIABLES_FILE, "wb") as file:
                    np.savez(file, **arrays)
                (aside / _STATE_FILE).write_text(json.dumps(self.values, indent=1), encoding="utf-8")
        except OSError as error:
            raise TrainingError(
                f"{place}: cannot keep epoch {self.epochs}: {error.strerror or error}; the epochs before are whole, "
                "the same command goes on from there"
            ) from error
        self._remove_old()

    def _count_epoch(self, logs, processor_seconds):
        history, before = self.values["history"], self.epochs
        for name in dict.fromkeys([*history, *logs]):
            column = history.setdefault(name, [None] * before)
            column.append(float(logs[name]) if name in logs else None)
        self.values["epochs"] = before + 1
        self.values["processor_seconds"] += processor_seconds
        code, version = self.values["code"], code_version()
        if not code or code[-1]["version"] != version:
            code.append({"first_epoch": before + 1, "version": version})

    def _remove_old(self):
        wanted = {*range(self.epochs - self.keep, self.epochs), self.best_epoch}
        for epoch in self._kept():
            if epoch not in wanted:
                shutil.rmtree(self._place(epoch), ignore_errors=True)

    def restore(self, model, epoch=None):
        """Loads an epoch's variables, the last one's if not said, into a compiled model of the same form.

        Raises:
            TrainingError: the file is damaged, or of a model of another form.
        """
        place = self._place(self.epochs - 1 if epoch is None else epoch)
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        variables = _variables(model)
        try:
            with np.load(place / _VARIABLES_FILE, allow_pickle=False) as arrays:
                shapes = {name: arrays[name].shape for name in arrays.files}
                if shapes != {name: tuple(variable.shape) for name, variable in variables.items()}:
                    raise ValueError("the variables are not those of this model")
                for name, variable in variables.items():
                    variable.assign(arrays[name])
        except (OSError, ValueError, KeyError) as error:
            raise TrainingError(f"{place}: cannot go on from here: {error}") from error

    def say_code(self):
        """Tells which code trained the epochs before, where it was another one."""
        code, version = self.values["code"], code_version()
        if code and code[-1]["version"] != version:
            self.progress(f"the epochs before were trained with code {code[-1]['version']}; this is {version}")

    def roll_back(self):
        """Notes that the epoch behind the last whole one was given up."""
        self.values["rollbacks"].append(self.epochs)

    def _place(self, epoch):
        return self.backups / f"epoch-{epoch + 1:05d}"

    def _kept(self):
        found = [_EPOCH.fullmatch(path.name) for path in self.backups.glob("epoch-*")]
        return [int(one[1]) - 1 for one in found if one]


def _variables(model):
    """All variables that decide how training goes on, weights, seeds and optimizer, by their place.

    Not by their names: Keras numbers layers without a name through, so a second model in a process has other ones.
    """
    groups = {"model": model.variables, "optimizer": model.optimizer.variables}
    return {
        f"{group}{index:05d}": variable
        for group, variables in groups.items()
        for index, variable in enumerate(variables)
    }


def _is_finite(array):
    # bfloat16 and the like are no floats to numpy.
    return array.dtype.kind in "biu" or bool(np.isfinite(array.astype("float32")).all())


def _flatten(values, prefix=""):
    flat = {}
    for key, value in values.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
