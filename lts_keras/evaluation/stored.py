"""An evaluation as it lies in a folder, read back whole or refused in one line."""

import dataclasses
import json
from pathlib import Path

from lts_keras.config.errors import ConfigError

__all__ = ["StoredEvaluation", "read_evaluation", "row_key"]

_OF_METRICS = ("slices", "parts", "trivial", "sweep", "reliability", "found", "threshold", "config", "data_digest")
_OF_ROWS = {
    "ref_id": str,
    "expression": str,
    "image_id": str,
    "dataset": str,
    "split": str,
    "category": str,
    "score": float,
    "presence": float,
    "point": list,
    "segmentation": dict,
    "has_target": bool,
    "intersection": int | None,
    "union": int | None,
    "iou": float | None,
    "prior_hit": bool | None,
    "area": float,
    "rivals": int,
    "num_words": int,
    "unknown_words": int,
    "place_words": bool,
    "found": str,
}


@dataclasses.dataclass(frozen=True)
class StoredEvaluation:
    """metrics.json and predictions.json of one model.

    Attributes:
        folder: `Path` of the two files.
        metrics: dict.
        rows: list of dicts, one for each expression.
    """

    folder: Path
    metrics: dict
    rows: list

    @property
    def settings(self):
        """dict, the section `evaluate` of the configuration that judged; empty where it was judged without one."""
        return self.metrics["config"].get("evaluate", {})


def read_evaluation(path):
    """Reads an evaluation.

    Args:
        path: a work directory, or a folder with the two files themselves, such as `evaluate/at_320` in it.

    Returns:
        `StoredEvaluation`.

    Raises:
        ConfigError: there is none, it is damaged, or a version of the library wrote it that kept less.
    """
    path = Path(path)
    folder = path if (path / "metrics.json").is_file() else path / "evaluate"
    metrics, rows = _read(folder / "metrics.json", dict), _read(folder / "predictions.json", list)
    missing = [key for key in _OF_METRICS if key not in metrics]
    if missing:
        raise _old(folder / "metrics.json", missing[0])
    if not isinstance(metrics["config"], dict) or not isinstance(metrics["slices"], dict):
        raise _damaged(folder / "metrics.json")
    for row in rows:
        _check(row, folder / "predictions.json")
    if not rows:
        raise ConfigError(f"{folder / 'predictions.json'}: no expression was judged; run `lts evaluate` again")
    return StoredEvaluation(folder, metrics, rows)


def row_key(row):
    """What tells a judged expression from all others: `(dataset, split, ref_id, expression)`."""
    return row["dataset"], row["split"], row["ref_id"], row["expression"]


def _check(row, path):
    if not isinstance(row, dict):
        raise _damaged(path)
    for key, kind in _OF_ROWS.items():
        if key not in row:
            raise _old(path, key)
        # JSON writes a whole float of another tool as an integer.
        if not isinstance(row[key], kind | int if kind in (float, float | None) else kind):
            raise _damaged(path, f": {key} is {str(row[key])[:40]!r}")


def _read(path, kind):
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no evaluation here; run `lts evaluate` first") from None
    except (OSError, ValueError, RecursionError):
        raise _damaged(path) from None
    if not isinstance(content, kind):
        raise _damaged(path)
    return content


def _damaged(path, found=""):
    return ConfigError(f"{path}: cut or damaged{found}; run `lts evaluate` again")


def _old(path, key):
    return ConfigError(f"{path}: another version of the library wrote it, {key} is missing; run `lts evaluate` again")
