"""`lts evaluate --model`: an export judged as the preset is, and what it loses against it."""

import json
from pathlib import Path

from lts_keras.config.errors import ConfigError
from lts_keras.data.prepare.folder import data_folder
from lts_keras.data.prepare.records import data_digest
from lts_keras.evaluation.evaluate import judge
from lts_keras.evaluation.exported import open_export
from lts_keras.utils.files import atomic_write
from lts_keras.utils.version import code_version

__all__ = ["differences", "evaluate_export"]


def evaluate_export(config, workdir, path, progress=print):
    """Judges an export on the prepared data of a work directory.

    Args:
        config: `Config`.
        workdir: folder with `data/`. `evaluate/<kind>/metrics.json` and `predictions.json` are written there, kind
            being `saved_model` or `onnx`.
        path: of the export, see `open_export`.
        progress: function that takes a line of text.

    Returns:
        dict, the contents of metrics.json. `against_preset` holds for each slice the score less the preset's, from
        `evaluate/metrics.json`; `None` if there is none, or one of other data, splits, size, threshold or presence.

    Raises:
        WeightsError, ImportError: as for `open_export`.
        ConfigError: keys of `evaluate` that an export cannot follow.
        DataError: as for `judge`.
    """
    network, data_dir = open_export(path), data_folder(config, workdir)
    _check_options(config.evaluate, network)
    metrics, predictions = judge(network, data_dir, config.evaluate, seed=config.seed, progress=progress)
    names = ("image_size", "image_resize", "max_tokens", "threshold")
    metrics |= {
        "config": config.model_dump(mode="json") | {"model": {name: getattr(network, name) for name in names}},
        "code_version": code_version(),
        "data_digest": data_digest(data_dir),
    }
    metrics["model"] |= {"path": Path(path).name}
    preset = Path(workdir) / "evaluate" / "metrics.json"
    metrics["against_preset"], reason = differences(metrics, preset)
    if reason:
        progress(f"no difference to the preset: {reason}")
    folder = Path(workdir) / "evaluate" / network.kind
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / "predictions.json", json.dumps(predictions))
    atomic_write(folder / "metrics.json", json.dumps(metrics, indent=1))
    return metrics


def differences(metrics, path):
    """What an evaluation has more than the preset's, slice by slice.

    Args:
        metrics: dict, contents of a metrics.json.
        path: of the preset's metrics.json.

    Returns:
        `(differences, reason)`: dict from slice to metric to float, and `None`; or `None` and what speaks against it.
    """
    try:
        preset = json.loads(Path(path).read_text(encoding="utf-8"))
        asked = {name: _asked(preset, name) for name in _COMPARABLE}
        slices = {name: _values(values) for name, values in preset["slices"].items()}
    except FileNotFoundError:
        return None, f"{path}: no such file; run `lts evaluate` without --model first"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return None, f"{path}: cannot be read: {' '.join(str(error).split())}"
    for name, there in asked.items():
        here = _asked(metrics, name)
        if here != there:
            return None, f"{path}: judged with another {name}: {there}. Received: {here}"
    found = {}
    for name, values in metrics["slices"].items():
        own, other = _values(values), slices[name]
        found[name] = {metric: own[metric] - other[metric] for metric in own if metric in other}
    return found, None


_COMPARABLE = ("data_digest", "splits", "image_size", "threshold", "presence")


def _asked(metrics, name):
    if name == "splits":
        return sorted(metrics["slices"])
    return metrics["model"]["image_size"] if name == "image_size" else metrics[name]


def _values(values):
    metrics = {name: one["value"] for name, one in values.items() if isinstance(one, dict)}
    return {name: value for name, value in metrics.items() if value is not None}


def _check_options(options, network):
    path, fixed = network.path, {"image_size": network.image_size, "num_devices": 1, "threshold": network.threshold}
    for name, value in fixed.items():
        given = getattr(options, name)
        if given not in (None, "best", value):
            raise ConfigError(f"evaluate.{name}: {path} answers with {value}, which is fixed. Received: {given}")
