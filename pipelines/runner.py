"""Runs the whole pipeline in place: the kfp definition through kfp.local, in subprocesses of this environment."""

import contextlib
import datetime
import json
import os
import shutil
import sys
import uuid
from pathlib import Path

from lts_keras.commands.resolved import print_resolved
from lts_keras.utils.workdir import lock
from pipelines import console
from pipelines.stages import ALIVE, STAGES, failure_of

__all__ = ["RunError", "run_pipeline"]

ROOT = Path(__file__).resolve().parent.parent


class RunError(RuntimeError):
    """A run that a stage has ended."""

    def __init__(self, message, exit_code):
        super().__init__(message)
        self.exit_code = exit_code


def run_pipeline(config, workdir, serving_dir=None):
    """Runs every stage that has not finished with the same inputs.

    Args:
        config: `Config`.
        workdir: the work directory; one run at a time.
        serving_dir: the folder that is served from, `<workdir>/serving` by default.

    Returns:
        Dict with `version` and `path` of what is pushed, `report` and `metrics` (`slices` of metrics.json).

    Raises:
        RunError: when a stage fails or the model is not blessed.
        lts_keras.utils.workdir.BusyError: if another run has the work directory.
    """
    workdir = Path(workdir).absolute()
    serving_dir = Path(serving_dir).absolute() if serving_dir else workdir / "serving"
    with lock(workdir / ".pipeline.lock"):
        for old in (workdir / "stages").glob("*.failed.json"):
            old.unlink()
        run_folder = workdir / "runs" / f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"
        with lock(run_folder / "alive"):
            print(f"{config.name}: {' -> '.join(STAGES)}\nin {_short(workdir)}, full log: {_short(run_folder)}/log.txt")
            print_resolved(config, f"{_short(workdir)}/config.yaml")
            _run_in_place(config, workdir, serving_dir, run_folder)
    metrics = json.loads((workdir / "evaluate" / "metrics.json").read_text(encoding="utf-8"))
    pushed = json.loads((workdir / "push" / "version.json").read_text(encoding="utf-8"))
    return {**pushed, "metrics": metrics["slices"], "report": str(workdir / "evaluate" / "report.html")}


def _run_in_place(config, workdir, serving_dir, run_folder):
    from kfp import local

    from pipelines.pipeline import make_pipeline

    # The stages run from any folder and end when this process does.
    os.environ[ALIVE] = str(run_folder / "alive")
    # kfp leaves a temporary folder behind for every step.
    temporary = run_folder / "tmp"
    temporary.mkdir()
    os.environ["TMPDIR"] = str(temporary)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    local.init(
        local.SubprocessRunner(use_venv=False),
        pipeline_root=str(run_folder / "kfp"),
        workspace_root=str(run_folder / "w"),
    )
    with open(run_folder / "log.txt", "w", encoding="utf-8") as log:
        try:
            with contextlib.redirect_stdout(console.StageLines(sys.stdout, log)):
                make_pipeline()(config=config.model_dump_json(), workdir=str(workdir), serving_dir=str(serving_dir))
        except Exception as error:
            # kfp says which task failed; why stands in the file that the stage left.
            stage, code, message = failure_of(workdir) or (None, 1, " ".join(str(error).split()))
            where = f"{stage}: " if stage else ""
            raise RunError(f"{where}{message} (full log: {_short(run_folder)}/log.txt)", code) from error
        finally:
            for folder in (run_folder / "kfp", run_folder / "w", temporary):
                shutil.rmtree(folder, ignore_errors=True)


def _short(path):
    """The path as seen from here, if it lies below."""
    with contextlib.suppress(ValueError):
        return str(Path(path).relative_to(Path.cwd()))
    return str(path)
