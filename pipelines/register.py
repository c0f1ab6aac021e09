"""register: writes down what a served version was made of."""

import datetime
import json

from lts_keras.utils.files import atomic_write
from lts_keras.utils.version import code_version
from pipelines.stages import result_digest

# No SECTIONS: every run that ends leaves its record.


def run(config, workdir, run_id):
    """Writes `lineage/<run>.json`; returns a line for the console."""
    metrics = json.loads((workdir / "evaluate" / "metrics.json").read_text(encoding="utf-8"))
    pushed = json.loads((workdir / "push" / "version.json").read_text(encoding="utf-8"))
    lineage = {
        "run": run_id,
        "time": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "data": result_digest("ingest", workdir),
        "config": config.model_dump(mode="json"),
        "code_version": code_version(),
        "model": result_digest("train", workdir),
        "metrics": metrics["slices"],
        # As they were chosen, where the configuration has `best`.
        "threshold": metrics.get("threshold"),
        "presence": metrics.get("presence"),
        "exported": result_digest("export", workdir),
        "version": pushed["version"],
        "path": pushed["path"],
    }
    path = atomic_write(workdir / "lineage" / f"{run_id}.json", json.dumps(lineage, indent=1))
    return f"lineage in {path.relative_to(workdir)}"
