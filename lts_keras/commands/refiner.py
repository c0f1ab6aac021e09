"""`lts write-features`, and what `lts evaluate` says of a refiner: with and without the segmentation module."""

import json
from pathlib import Path

from lts_keras.config.errors import ConfigError

__all__ = ["add_feature_arguments", "print_coarse", "write_features_of"]

_COMPARED = ("mean_iou", "overall_iou", "precision_at_50", "precision_at_70", "precision_at_90")


def add_feature_arguments(parser):
    """Adds the arguments of `lts write-features` behind those that all commands have."""
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="folder to write, for data.features"
    )
    parser.add_argument("--preset", type=Path, metavar="DIR", help="folder of a trained model (default: the workdir's)")
    parser.add_argument(
        "--split", action="append", help="split whose sentences are written; may be given several times (default: all)"
    )


def write_features_of(config, workdir, options):
    """Writes the features and coarse masks of a trained `LTS` for the sentences of its prepared data.

    Args:
        config: `Config`, of the model that writes.
        workdir: work directory with `data/`, and `train/preset/` unless another preset is given.
        options: namespace with `output`, `preset` and `split`.

    Raises:
        ConfigError: a split that the data does not have.
        WeightsError, DataError: as `trained_model` and `write_features`.
    """
    from lts_keras.data.prepare.folder import data_folder
    from lts_keras.data.prepare.records import data_digest, read_manifest
    from lts_keras.export.features import write_features
    from lts_keras.models.preset import WEIGHTS_FILE
    from lts_keras.models.trained import model_of_preset, trained_model
    from lts_keras.utils.files import digest

    preset = options.preset or workdir / "train" / "preset"
    model = model_of_preset(config, preset) if options.preset else trained_model(config, workdir)
    data_dir = data_folder(config, workdir)
    known = sorted({split for shard in read_manifest(data_dir)["shards"] for split in shard["splits"]})
    unknown = [split for split in options.split or () if split not in known]
    if unknown:
        raise ConfigError(f"--split: {data_dir} has the splits {', '.join(known)}. Received: {', '.join(unknown)}")
    name = f"{config.name}, weights {digest(preset / WEIGHTS_FILE)[:12]}, data {data_digest(data_dir)[:12]}"
    written = write_features(model, data_dir, options.split or known, options.output, name)
    print(f"features: {written.folder}, {written.header.channels} channels, digest {written.digest[:12]}")


def print_coarse(workdir, metrics):
    """Prints the scores of the coarse masks alone, and what the segmentation module adds to them.

    Args:
        workdir: work directory in which `evaluate` judged a refiner.
        metrics: dict, what it returned.
    """
    from lts_keras.evaluation.printed import format_slices

    path = Path(workdir) / "evaluate" / "coarse" / "metrics.json"
    coarse = json.loads(path.read_text(encoding="utf-8"))["slices"]
    print(f"without the segmentation module, the coarse masks alone:\n{format_slices(coarse)}\ndifference:")
    for name, values in metrics["slices"].items():
        pairs = [(metric, values[metric]["value"], coarse[name][metric]["value"]) for metric in _COMPARED]
        told = [f"{metric} {one - other:+.3f}" for metric, one, other in pairs if None not in (one, other)]
        print(f"{name}  {'  '.join(told)}")
    print(f"metrics of the coarse masks: {path}")
