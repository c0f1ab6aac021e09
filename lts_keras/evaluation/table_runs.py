"""Evaluations as runs of the paper's rows: read, told apart by their configuration, seeds put together."""

import dataclasses
import json
import math
import statistics
from pathlib import Path

from lts_keras.config.errors import ConfigError
from lts_keras.config.paper_rows import PAPER_ROWS
from lts_keras.evaluation.paper_scores import SAME_MODEL

__all__ = ["Group", "Run", "differing_keys", "group_runs", "read_runs"]

# What changes neither the weights nor the scores, or is known by the digest of the data.
_PASSED_OVER = (
    ("name",),
    ("seed",),
    ("bless",),
    ("export",),
    ("model", "variant"),
    ("data",),
    ("weights",),
    ("evaluate", "batch_size"),
    ("evaluate", "num_devices"),
    ("evaluate", "bootstrap_samples"),
    ("evaluate", "min_slice_size"),
    ("evaluate", "num_pictures"),
    ("evaluate", "groups"),
    ("evaluate", "splits"),
    ("evaluate", "image_size"),
)


@dataclasses.dataclass(frozen=True)
class Run:
    """One evaluation.

    Attributes:
        path: `Path` of its metrics.json.
        variant: str, a key of `PAPER_ROWS`, or `None`.
        config: dict, the configuration that judged, with the section `model` of the preset.
        scores: dict data set -> split -> metric -> float from 0 to 1.
        num_expressions: dict data set -> split -> int.
        trained_size, judged_size: int, pixels.
        threshold: float.
        presence: bool, whether the model could say that nothing is there.
        coarse: bool, another model's coarse masks and no refiner.
        data_digest: str.
    """

    path: Path
    variant: str | None
    config: dict
    scores: dict
    num_expressions: dict
    trained_size: int
    judged_size: int
    threshold: float
    presence: bool
    coarse: bool
    data_digest: str

    @property
    def seed(self):
        """int, the seed of weights and order of the data."""
        return self.config.get("seed", 0)

    @property
    def location_loss(self):
        """bool, whether equation 12 was trained."""
        return self.config.get("train", {}).get("location_weight", 0.1) > 0

    @property
    def model(self):
        """The variant by which rows know it; several names may be one model."""
        return SAME_MODEL.get(self.variant, self.variant)


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs of one row on one data set that differ in the seed alone.

    Attributes:
        runs: tuple of `Run`.
        dataset: str.
    """

    runs: tuple
    dataset: str

    def values(self, split, metric):
        """A metric of each run, in percent; empty where a run lacks it."""
        found = [run.scores[self.dataset].get(split, {}).get(metric) for run in self.runs]
        return [] if any(value is None for value in found) else [100 * value for value in found]

    def summary(self, split, metric):
        """`(mean, sample standard deviation, smallest, largest)` in percent, or `None`; NaN deviation for one run."""
        values = self.values(split, metric)
        if not values:
            return None
        spread = statistics.stdev(values) if len(values) > 1 else math.nan
        return statistics.fmean(values), spread, min(values), max(values)


def read_runs(path, variant=None):
    """Reads all evaluations of a work directory.

    Args:
        path: a work directory, whose `evaluate/`, `evaluate/at_<size>/` and `evaluate/coarse/` are read; or a folder
            with one metrics.json itself.
        variant: str, the row that they belong to; `None`: the configuration's `model.variant`.

    Returns:
        List of `Run`, the model at its own size first.

    Raises:
        ConfigError: no evaluation, a damaged one, or one that an older version of the library wrote.
    """
    path = Path(path)
    if variant is not None and variant not in PAPER_ROWS:
        raise ConfigError(f"--row {variant}: no row of the paper's tables; rows are {', '.join(PAPER_ROWS)}")
    if (path / "metrics.json").is_file():
        return [_read(path / "metrics.json", variant)]
    folder = path / "evaluate"
    further = [*sorted(folder.glob("at_*/metrics.json")), *sorted(folder.glob("coarse/metrics.json"))]
    if further and not (folder / "metrics.json").exists():
        return [_read(one, variant) for one in further]
    return [_read(one, variant) for one in (folder / "metrics.json", *further)]


def differing_keys(one, other):
    """Keys in which two configurations differ beyond the seed and what does not bear on the scores.

    Args:
        one, other: dicts, as `Config.model_dump` gives them.

    Returns:
        dict of dotted key -> `(value, other value)`.
    """
    first, second = _flat(one), _flat(other)
    keys = [key for key in [*first, *(key for key in second if key not in first)] if not _passed_over(key)]
    return {".".join(key): (first.get(key), second.get(key)) for key in keys if first.get(key) != second.get(key)}


def group_runs(runs, dataset):
    """Puts runs together that differ in the seed alone.

    Args:
        runs: list of `Run` of one row.
        dataset: str.

    Returns:
        Tuple `(groups, notes)`: list of `Group`, list of str about what was not averaged.
    """
    groups, notes = [], []
    for run in (run for run in runs if dataset in run.scores):
        home = next((group for group in groups if not _difference(group[0], run)), None)
        if home is None:
            if groups:
                notes.append(f"{run.path}: not averaged with {groups[0][0].path}: {_difference(groups[0][0], run)}")
            groups.append([run])
        elif run.seed in {one.seed for one in home}:
            notes.append(f"{run.path}: left out, the same seed ({run.seed}) and settings as an earlier one")
        else:
            home.append(run)
    return [Group(tuple(group), dataset) for group in groups], notes


def _difference(one, other):
    """What two runs differ in beside the seed, as text; empty if nothing."""
    keys = differing_keys(one.config, other.config)
    found = [f"{key} {_short(first)} against {_short(second)}" for key, (first, second) in keys.items()]
    if one.data_digest != other.data_digest:
        found.append("other data")
    if one.judged_size != other.judged_size:
        found.append(f"judged at {one.judged_size} against {other.judged_size}")
    if not keys and one.threshold != other.threshold and one.config["evaluate"].get("threshold") != "best":
        found.append(f"threshold {one.threshold:g} against {other.threshold:g}")
    more = f" and {len(found) - 4} more" if len(found) > 4 else ""
    return ", ".join(found[:4]) + more


def _short(value):
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _flat(values, place=()):
    if not isinstance(values, dict) or not values:
        return {place: values}
    found = {}
    for key, value in values.items():
        found |= _flat(value, (*place, key))
    return found


def _passed_over(key):
    return any(key[: len(prefix)] == prefix for prefix in _PASSED_OVER)


def _read(path, variant):
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no evaluation here; run `lts evaluate` first") from None
    except (OSError, ValueError, RecursionError):
        raise ConfigError(f"{path}: cut or damaged; run `lts evaluate` again") from None
    missing = [key for key in ("slices", "threshold", "model", "config", "data_digest") if key not in content]
    if missing:
        raise ConfigError(
            f"{path}: another version of the library wrote it, {missing[0]} is missing; run `lts evaluate` again"
        )
    try:
        return _run(path, content, variant)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path}: damaged ({type(error).__name__}: {error}); run `lts evaluate` again") from None


def _run(path, content, variant):
    scores, counts = {}, {}
    groups = content["config"].get("evaluate", {}).get("groups", {})
    for name, values in content["slices"].items():
        dataset, slash, split = name.rpartition("/")
        if not slash or name in groups:
            continue
        numbers = {metric: value["value"] for metric, value in values.items() if isinstance(value, dict)}
        scores.setdefault(dataset, {})[split] = {metric: float(value) for metric, value in numbers.items()}
        counts.setdefault(dataset, {})[split] = int(values["num_expressions"])
    judged = int(content["model"]["image_size"])
    model = content["config"].get("model", {})
    # A refiner has the size of the features that it was given, whatever the configuration's own says.
    trained = judged if model.get("refiner_channels") else int(model.get("image_size", judged))
    return Run(
        path=path,
        variant=variant or model.get("variant"),
        config=content["config"],
        scores=scores,
        num_expressions=counts,
        trained_size=trained,
        judged_size=judged,
        threshold=float(content["threshold"]),
        presence=content.get("presence") is not None,
        coarse=content["model"].get("kind") == "features",
        data_digest=str(content["data_digest"]),
    )
