"""The page of an evaluation."""

import json
from pathlib import Path

from lts_keras.data.prepare.folder import data_folder
from lts_keras.evaluation.report_page import draw_cards, render_report
from lts_keras.evaluation.stored import read_evaluation
from lts_keras.models.trained import trained_model
from lts_keras.utils.files import atomic_write

__all__ = ["write_report"]


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


def _predictor(config, workdir):
    """The trained model for the priors, which predictions.json lacks; `None` without a preset or of a refiner."""
    if config.model.refiner_channels or not (Path(workdir) / "train" / "preset").is_dir():
        return None
    return trained_model(config, workdir).predictor()


def _history(path):
    """The curves of the training; none where the model was trained elsewhere."""
    try:
        history = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return history if isinstance(history, dict) else {}
