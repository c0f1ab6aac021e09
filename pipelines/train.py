"""train: fits the model; resumes where a killed run stopped."""

from pathlib import Path

SECTIONS = ("seed", "imports", "model", "train", "weights")
OUTPUTS = ("train/preset",)


def run(config, workdir):
    """Trains into `train/`; returns a line for the console.

    Raises:
        RuntimeError: if the loss is not finite.
    """
    from lts_keras.training.train import train

    train(config, workdir)
    return "preset in train/preset"


def fingerprint(config, workdir):
    """Digests of the weight files."""
    from lts_keras.utils.files import digest

    return [digest(path) for path in (config.weights.backbone, config.weights.glove) if path and Path(path).is_file()]
