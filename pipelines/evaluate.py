"""evaluate: every expression at the photo's original size, with confidence intervals, and the report page."""

from pipelines.calibration import CALIBRATION_FILE, is_calibrated

SECTIONS = ("name", "seed", "imports", "model", "evaluate")
OUTPUTS = ("evaluate/metrics.json", "evaluate/predictions.json", "evaluate/report.html")


def outputs(config):
    """Paths of the result, with the calibration where there is one."""
    return (*OUTPUTS, CALIBRATION_FILE) if is_calibrated(config) else OUTPUTS


def run(config, workdir):
    """Evaluates into `evaluate/`; returns a line with the slices' `mean_iou`."""
    from lts_keras.evaluation.evaluate import evaluate
    from lts_keras.evaluation.report import write_report

    slices = evaluate(config, workdir)["slices"]
    write_report(config, workdir)
    whole = {name: values["mean_iou"]["value"] for name, values in slices.items() if name.count("/") == 1}
    # Boxes alone have no mean_iou.
    return "mean_iou " + ", ".join(f"{name} {value:.3f}" for name, value in whole.items() if value is not None)
