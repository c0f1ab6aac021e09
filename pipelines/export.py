"""export: the served graph, its ONNX twin and the model card."""

from pipelines.calibration import calibration_of

SECTIONS = ("name", "imports", "model", "export")
OUTPUTS = ("export/saved_model", "export/model_card.md")


def run(config, workdir):
    """Exports into `export/`; returns a line for the console."""
    from lts_keras.export import export

    export(config, workdir)
    return "SavedModel in export/saved_model"


def fingerprint(config, workdir):
    """Threshold and presence that masks are made with, of all that the section `evaluate` holds."""
    return calibration_of(config, workdir)
