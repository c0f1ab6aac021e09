"""bless: decides whether the model is good enough to be served."""

import json
from pathlib import Path

from lts_keras.utils.files import atomic_write
from pipelines import versions
from pipelines.stages import StageError, result_digest

# No SECTIONS: what is served now is part of the question, so the decision is made anew in every run.
FLOORS = ("mean_iou", "overall_iou", "localization_accuracy")


def run(config, workdir, serving_dir):
    """Writes `bless/decision.json`; returns a line for the console.

    Raises:
        StageError: if the model is not blessed, with the reasons.
    """
    slices = json.loads((workdir / "evaluate" / "metrics.json").read_text(encoding="utf-8"))["slices"]
    model = result_digest("train", workdir)
    version, lineage = versions.served(serving_dir)
    same = lineage.get("model") == model
    before = {} if same else lineage.get("slices", {})
    checks, reasons = judge(config.bless, slices, before)
    decision = {
        "decision": "NOT_BLESSED" if reasons else "BLESSED",
        "reasons": reasons,
        "checks": checks,
        "compared_with_version": None if same else version,
        "model": model,
        "metrics": result_digest("evaluate", workdir),
    }
    atomic_write(Path(workdir) / "bless" / "decision.json", json.dumps(decision, indent=1))
    if reasons:
        raise StageError(f"NOT_BLESSED: {'; '.join(reasons)}")
    against = f" and against version {version}" if before else ""
    return f"BLESSED on {', '.join(sorted({check['slice'] for check in checks}))}{against}"


def judge(bless, slices, before):
    """Holds every slice of the split that is judged against the floors and against what is served.

    Args:
        bless: `BlessConfig`.
        slices: `slices` of metrics.json.
        before: the same of the served model; empty in the first run. A slice that it lacks is not compared.

    Returns:
        `(checks, reasons)`: list of dicts `{slice, metric, value, at_least, passed}`, and one sentence for each that
        did not pass.
    """
    judged = [name for name in slices if _matches(name, bless)]
    if not judged:
        wanted = f"{bless.dataset or '*'}/{bless.split}"
        return [], [f"no slice {wanted} was evaluated; there are {', '.join(slices) or 'none'}"]
    checks, reasons = [], []

    def check(name, metric, least, why):
        # A slice of boxes alone has no masks to judge.
        value = slices[name][metric]["value"]
        passed = value >= least if value is not None else least <= 0
        checks.append({"slice": name, "metric": metric, "value": value, "at_least": least, "passed": passed})
        if not passed:
            found = "missing" if value is None else f"{value:.3f}"
            reasons.append(f"{metric} on {name} is {found}, below {least:.3f} ({why})")

    for name in judged:
        for metric in FLOORS:
            check(name, metric, getattr(bless, f"min_{metric}"), f"bless.min_{metric}")
        served = before.get(name, {}).get("mean_iou", {}).get("value")
        if served is not None:
            check(name, "mean_iou", served - bless.max_mean_iou_drop, f"{served:.3f} is served")
    return checks, reasons


def _matches(name, bless):
    dataset, _, split = name.rpartition("/")
    return split == bless.split and bless.dataset in (None, dataset)
