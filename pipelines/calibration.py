"""What the stages behind evaluate take from it where the configuration has threshold or presence chosen there."""

import json
from pathlib import Path

__all__ = ["CALIBRATION_FILE", "calibration_of", "is_calibrated"]

CALIBRATION_FILE = "evaluate/calibration.json"


def is_calibrated(config):
    """Whether the stage evaluate chooses a threshold or a presence."""
    return config.evaluate.threshold == "best" or config.evaluate.presence


def calibration_of(config, workdir):
    """Threshold and presence that masks are made with, as plain values that a stage's key can hold.

    Args:
        config: `Config`.
        workdir: path of the work directory.

    Returns:
        The threshold of the configuration where nothing is chosen; else that and what calibration.json holds, `None`
        where it cannot be read: the stage itself then says so.
    """
    if not is_calibrated(config):
        return config.evaluate.threshold
    try:
        chosen = json.loads((Path(workdir) / CALIBRATION_FILE).read_text(encoding="utf-8"))
        return [config.evaluate.threshold, chosen["threshold"], chosen["presence"]]
    except (OSError, ValueError, KeyError, TypeError):
        return [config.evaluate.threshold, None]
