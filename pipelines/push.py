"""push: publishes the served graph as the next version."""

import json

from lts_keras.utils.files import atomic_write
from lts_keras.utils.version import code_version
from pipelines import versions
from pipelines.stages import StageError, result_digest

# No SECTIONS: the served folder itself says whether this model stands there already.
OUTPUTS = ("push/version.json",)


def run(config, workdir, serving_dir):
    """Publishes once, however often it runs; returns a line for the console.

    Raises:
        StageError: if the model is not the one that was blessed.
    """
    model, exported = result_digest("train", workdir), result_digest("export", workdir)
    decision = json.loads((workdir / "bless" / "decision.json").read_text(encoding="utf-8"))
    if decision["decision"] != "BLESSED" or decision["model"] != model:
        raise StageError(f"model {model} is not blessed")
    version = next((v for v in versions.published(serving_dir) if _export_of(serving_dir, v) == exported), None)
    known = version is not None
    if not known:
        metrics = json.loads((workdir / "evaluate" / "metrics.json").read_text(encoding="utf-8"))
        lineage = {
            "name": config.name,
            "data": result_digest("ingest", workdir),
            "code_version": code_version(),
            "model": model,
            "exported": exported,
            "slices": metrics["slices"],
        }
        version = versions.publish(serving_dir, workdir / "export" / "saved_model", lineage)
    path = versions.published(serving_dir)[version]
    atomic_write(workdir / "push" / "version.json", json.dumps({"version": version, "path": str(path)}))
    return f"version {version} {'is there already' if known else 'published'}: {path}"


def _export_of(serving_dir, version):
    lineage = versions.lineage_of(serving_dir, version)
    # A rolled-back copy says that an older version was wanted, and not that this export was pushed.
    return None if "copy_of" in lineage else lineage.get("exported")
