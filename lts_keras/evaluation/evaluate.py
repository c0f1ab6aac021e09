"""The one evaluator: every expression, at the photo's original size. `lts evaluate` and the pipeline both use it."""

import dataclasses
import json
from pathlib import Path

from lts_keras.data.prepare.folder import data_folder
from lts_keras.data.prepare.records import data_digest, read_manifest
from lts_keras.data.schema import DataError
from lts_keras.evaluation.calibration import calibrate
from lts_keras.evaluation.networks import ModelNetwork
from lts_keras.evaluation.refiner_networks import refiner_networks
from lts_keras.evaluation.rows import rows_and_facts
from lts_keras.evaluation.scores import Scores
from lts_keras.models.trained import origin_of_calibration, trained_options, uncalibrated_model
from lts_keras.utils.files import atomic_write
from lts_keras.utils.version import code_version

__all__ = ["evaluate", "evaluation_folder", "judge"]


def evaluate(config, workdir):
    """Judges the preset in the work directory on the prepared data there.

    Where `config.evaluate` says `threshold: best` or `presence: true`, these are chosen first, see `calibrate`, and
    left in `calibration.json`, from which export and prediction have them.

    Args:
        config: `Config`.
        workdir: folder with `data/` and `train/preset/`. `evaluate/metrics.json` and `evaluate/predictions.json` are
            written there; in `evaluate/at_<size>/`, if `evaluate.image_size` is another one than the model's. Of a
            refiner, `evaluate/coarse/` has the same of the coarse masks that it was given.

    Returns:
        dict, the contents of metrics.json.

    Raises:
        DataError: no prepared data, none of the splits of `config.evaluate.splits` in it, or as for `calibrate`.
        WeightsError: no preset.
        ConfigError: keys of `model` that contradict the preset, or more devices than there are.
    """
    workdir = Path(workdir)
    preset = workdir / "train" / "preset"
    data_dir, coarse, features = data_folder(config, workdir), None, {}
    if config.model.refiner_channels:
        model, coarse = refiner_networks(config, preset, data_dir)
        features = {"features_digest": coarse.features.digest}
    else:
        model = uncalibrated_model(config, preset)
    options = trained_options(preset)
    metrics, predictions = judge(model, data_dir, config.evaluate, seed=config.seed)
    origin = {
        # The section `model` is the preset's: what was not given here has the schema's value and not the model's.
        "config": config.model_dump(mode="json") | {"model": options},
        "code_version": code_version(),
        "data_digest": data_digest(data_dir),
        **features,
    }
    metrics |= origin
    folder = evaluation_folder(workdir, config.evaluate.image_size, model.image_size)
    folder.mkdir(parents=True, exist_ok=True)
    if metrics["calibration"]:
        calibration = metrics["calibration"] | origin_of_calibration(config, workdir)
        atomic_write(folder / "calibration.json", json.dumps(calibration, indent=1))
    atomic_write(folder / "predictions.json", json.dumps(predictions))
    if coarse:
        # Behind the refiner's predictions and before its metrics: with these, both are there.
        alone, answers = judge(coarse, data_dir, config.evaluate, seed=config.seed)
        atomic_write(folder / "coarse" / "predictions.json", json.dumps(answers))
        atomic_write(folder / "coarse" / "metrics.json", json.dumps(alone | origin, indent=1))
        metrics["coarse"] = {"threshold": alone["threshold"], "slices": alone["slices"]}  # for the page
    atomic_write(folder / "metrics.json", json.dumps(metrics, indent=1))
    return metrics


def evaluation_folder(workdir, judged_size, own_size):
    """Where the results of a preset lie, by the side of the square that it was judged at (`None`: its own)."""
    folder = Path(workdir) / "evaluate"
    return folder if judged_size in (None, own_size) else folder / f"at_{judged_size}"


def judge(model, data_dir, options, seed=0, progress=print):
    """Judges a model on every expression of the splits.

    Args:
        model: `LTS` with a vocabulary, judged in float32, or a network such as `ModelNetwork`. What `options` says of
            threshold and presence is chosen for a preset first; an export is judged with those that it was made with.
        data_dir: folder of prepared data.
        options: `EvaluateConfig`.
        seed: int, of the bootstrap.
        progress: function that takes a line of text.

    Returns:
        Tuple `(metrics, predictions)`, as metrics.json and predictions.json hold them.

    Raises:
        DataError: none of the splits of `options.splits` is in the data, or as for `calibrate`.
        ConfigError: more devices asked for than there are.
    """
    present = {split for shard in read_manifest(data_dir)["shards"] for split in shard["splits"]}
    splits = [split for split in options.splits if split in present]
    if not splits:
        raise DataError(
            f"{data_dir}: none of evaluate.splits {list(options.splits)} is there. Found: {sorted(present)}"
        )
    network = model if hasattr(model, "kind") else ModelNetwork(model, options.image_size, options.num_devices)
    calibration = None
    if network.kind == "preset" and (options.threshold == "best" or options.presence):
        calibration = calibrate(network, data_dir, options, progress)
    scores, predictions = Scores(options.groups), []
    for row, facts in rows_and_facts(network, data_dir, splits, options.batch_size):
        scores.add(row, facts)
        predictions.append(row)
        if len(predictions) % 500 == 0:
            progress(f"evaluated {len(predictions)} expressions")
    metrics = {
        "threshold": network.threshold,
        "presence": dataclasses.asdict(network.presence) if network.presence.threshold is not None else None,
        "calibration": calibration,
        "model": {"kind": network.kind, "precision": network.precision, "image_size": network.image_size},
    } | scores.result(options.bootstrap_samples, seed, options.min_slice_size)
    progress(f"evaluated {len(predictions)} expressions on {', '.join(splits)}")
    return metrics, predictions
