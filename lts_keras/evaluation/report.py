"""The page of an evaluation, and its scores as a table of text."""

import json
from pathlib import Path

from lts_keras.utils.files import atomic_write

__all__ = ["GRES_METRICS", "METRICS", "format_slices", "write_report"]

METRICS = {
    "mean_iou": "mean IoU",
    "overall_iou": "overall IoU",
    "precision_at_50": "P@50",
    "precision_at_60": "P@60",
    "precision_at_70": "P@70",
    "precision_at_80": "P@80",
    "precision_at_90": "P@90",
    "localization_accuracy": "localization",
}
GRES_METRICS = {"giou": "gIoU", "ciou": "cIoU", "n_acc": "N-acc", "t_acc": "T-acc"}
"""Of slices with expressions that have no target."""


def write_report(config, workdir):
    """Writes `evaluate/report.html` from metrics.json, predictions.json, the records and the trained preset.

    Args:
        config: `Config`; `evaluate.num_pictures` answers are shown: the best, around the median, the worst, drawn ones.
        workdir: work directory.

    Returns:
        Path of the page, one file that needs nothing beside it: at most 100 kB of text, and the pictures.

    Raises:
        ConfigError: no evaluation in the work directory, or a damaged one.
        DataError: the data that was judged is not there.
    """
    # Here, since `format_slices` must not load TensorFlow.
    from lts_keras.data.prepare.folder import data_folder
    from lts_keras.evaluation.report_page import draw_cards, render_report
    from lts_keras.evaluation.stored import read_evaluation

    evaluation = read_evaluation(Path(workdir) / "evaluate")
    cards = draw_cards(
        evaluation.rows,
        config.evaluate.num_pictures,
        config.seed,
        data_folder(config, workdir),
        _predictor(config, workdir),
    )
    page = render_report(config.name, evaluation, cards, _history(Path(workdir) / "train" / "history.json"))
    return atomic_write(evaluation.folder / "report.html", page)


def format_slices(slices):
    """Returns metrics.json's `slices` as an aligned text table."""
    metrics = METRICS | (GRES_METRICS if any("giou" in values for values in slices.values()) else {})
    rows = [("", *metrics.values(), "expressions")]
    for name, values in slices.items():
        cells = [values.get(metric) or {} for metric in metrics]
        texts = ["-" if cell.get("value") is None else f"{cell['value']:.3f}" for cell in cells]
        if cells[0].get("low") is not None:
            texts[0] += f" [{cells[0]['low']:.2f}, {cells[0]['high']:.2f}]"
        rows.append((name, *texts, str(values["num_expressions"])))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )


def _predictor(config, workdir):
    """The trained model for the priors, which predictions.json lacks; `None` without a preset or of a refiner."""
    if config.model.refiner_channels or not (Path(workdir) / "train" / "preset").is_dir():
        return None
    from lts_keras.models.trained import trained_model

    return trained_model(config, workdir).predictor()


def _history(path):
    """The curves of the training; none where the model was trained elsewhere."""
    try:
        history = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return history if isinstance(history, dict) else {}
