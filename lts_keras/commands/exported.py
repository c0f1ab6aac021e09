"""`lts evaluate --model`: judges an export and says what it loses against the preset."""

from lts_keras.config.errors import ConfigError

__all__ = ["judge_export"]


def judge_export(config, workdir, path):
    """Judges an export, prints its scores and the differences to the preset's.

    Args:
        config: `Config`.
        workdir: `Path` of the work directory.
        path: of a SavedModel folder or an ONNX file.

    Raises:
        ConfigError: the extra for this kind of file is not installed, or as for `evaluate_export`.
        WeightsError, DataError: as for `evaluate_export`.
    """
    from lts_keras.evaluation.against_preset import evaluate_export
    from lts_keras.evaluation.printed import format_slices

    try:
        metrics = evaluate_export(config, workdir, path)
    except ImportError as error:
        raise ConfigError(f"{path}: {error}") from error
    print(format_slices(metrics["slices"]))
    if metrics["against_preset"]:
        print("against the preset:")
        for name, values in metrics["against_preset"].items():
            print(name, *(f"{metric} {difference:+.4f}" for metric, difference in values.items()), sep="  ")
    print(f"metrics: {workdir / 'evaluate' / metrics['model']['kind'] / 'metrics.json'}")
