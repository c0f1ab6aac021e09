"""Runs one stage: passed over when its result is there for the same inputs, locked, with one clear line on failure."""

import contextlib
import datetime
import fcntl
import hashlib
import importlib
import io
import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path

from lts_keras.commands.commandline import is_users, one_line
from lts_keras.config.read import dump_config, parse_config
from lts_keras.utils.files import atomic_write, digest
from lts_keras.utils.version import code_version
from lts_keras.utils.workdir import open_workdir

__all__ = ["ALIVE", "STAGES", "StageError", "failure_of", "result_digest", "run_stage", "stamp_path"]

STAGES = ("ingest", "validate_data", "train", "evaluate", "bless", "export", "infra_validate", "push", "register")
ALIVE = "LTS_PIPELINE_ALIVE"
"""Environment variable with the file that the process of the whole run holds locked."""


class StageError(RuntimeError):
    """A stage that ends the run for a reason that it names in one line, such as a model that is not blessed."""

    exit_code = 1


def run_stage(name, config, workdir, inputs=None, **settings):
    """Runs stage `name`, or passes it over.

    A stage is a module `pipelines.<name>` with `run(config, workdir, **settings)`, which returns a line for the
    console; `SECTIONS`, the parts of the configuration that decide its result; `OUTPUTS`, the paths below the work
    directory that are its result, or `outputs(config)`, where the configuration decides them. A stage without
    `SECTIONS` runs every time, because what decides its result lies outside (what is being served).
    `fingerprint(config, workdir)`, if it has one, stands for files that are read beside.

    Args:
        name: one of `STAGES`.
        config: the resolved configuration as JSON text.
        workdir: path of the work directory.
        inputs: dict, stage -> digest that this run got from it. A result that has changed since is refused.
        settings: further arguments of the stage's `run`.

    Returns:
        Digest of the result, `""` for a stage that has no `OUTPUTS`.

    Raises:
        SystemExit: after the failure was printed and stored; 2 for what the user can mend in data or configuration,
            1 for anything else.
    """
    workdir, started = Path(workdir).absolute(), time.monotonic()
    _end_with_run()
    with contextlib.redirect_stdout(_Lines(sys.stdout, f"[{name}] ")):
        failure = workdir / "stages" / f"{name}.failed.json"
        try:
            failure.unlink(missing_ok=True)
            # Another stage's process may need a moment to notice that its run was killed.
            settings["config"] = parse_config(json.loads(config))
            with open_workdir(workdir, dump_config(settings["config"]), wait_seconds=10):
                return _run(name, workdir, inputs or {}, settings, started)
        except BaseException as error:
            if isinstance(error, SystemExit):
                raise
            code = 2 if is_users(error) else 1
            message = one_line(error)
            atomic_write(failure, json.dumps({"stage": name, "code": code, "message": message}))
            if not isinstance(error, StageError):
                traceback.print_exc(file=sys.stderr)
            print(f"failed: {message}")
            raise SystemExit(code) from error


def _run(name, workdir, inputs, settings, started):
    stage = importlib.import_module(f"pipelines.{name}")
    for upstream, expected in inputs.items():
        if result_digest(upstream, workdir) != expected:
            raise StageError(
                f"the result of {upstream} in {workdir} is not the one of this run: another run has worked there"
            )
    sections = getattr(stage, "SECTIONS", None)
    key = None if sections is None else _key(stage, name, sections, inputs, settings, workdir)
    outputs = stage.outputs(settings["config"]) if hasattr(stage, "outputs") else getattr(stage, "OUTPUTS", ())
    stamp = _read(stamp_path(name, workdir))
    if key and stamp.get("key") == key and stamp.get("result") == _digest_all(workdir, outputs):
        print(f"same inputs as on {stamp['finished']}: passed over")
        return stamp["result"]
    print("starts")
    line = stage.run(workdir=workdir, **settings)
    result = _digest_all(workdir, outputs)
    if result is None:
        raise StageError(f"the stage ended without {' or '.join(outputs)}")
    seconds = time.monotonic() - started
    finished = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    record = {"key": key, "result": result, "inputs": inputs, "finished": finished, "seconds": round(seconds, 1)}
    atomic_write(stamp_path(name, workdir), json.dumps(record, indent=1))
    print(f"{line} ({seconds:.0f} s)")
    return result


def stamp_path(name, workdir):
    """Path of the file that says with what inputs a stage has finished, and its result's digest."""
    return Path(workdir) / "stages" / f"{name}.json"


def result_digest(name, workdir):
    """Digest of the result of a finished stage as its stamp has it, `None` if it has not finished."""
    return _read(stamp_path(name, workdir)).get("result")


def failure_of(workdir):
    """Returns `(stage, exit code, message)` of the stage that failed last, or `None`."""
    failures = [_read(path) for path in (Path(workdir) / "stages").glob("*.failed.json")]
    return next(((one["stage"], one["code"], one["message"]) for one in failures if one), None)


def _key(stage, name, sections, inputs, settings, workdir):
    values = settings["config"].model_dump(mode="json")
    outside = stage.fingerprint(settings["config"], workdir) if hasattr(stage, "fingerprint") else None
    parts = [name, code_version(), {section: values[section] for section in sections}, inputs, outside]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _digest_all(workdir, outputs):
    """Digest of files and folders; `None` if one is missing."""
    total = hashlib.sha256()
    for output in outputs:
        path = workdir / output
        files = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
        if not files or not all(file.is_file() for file in files):
            return None
        for file in files:
            total.update(f"{file.relative_to(workdir).as_posix()} {digest(file)}\n".encode())
    return total.hexdigest()[:16]


def _read(path):
    """The JSON object in a file; empty if there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _end_with_run():
    """Ends this process when the process of the whole run is gone, so that none goes on unseen in its folder."""
    path = os.environ.get(ALIVE)
    if not path:
        return

    def wait():
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class _Lines(io.TextIOBase):
    """Puts the stage's name before every line and sends it on at once."""

    def __init__(self, stream, prefix):
        self._stream, self._prefix, self._rest = stream, prefix, ""

    def write(self, text):
        *lines, self._rest = (self._rest + text.replace("\r", "\n")).split("\n")
        for line in lines:
            if line.strip():
                self._stream.write(f"{self._prefix}{line.rstrip()}\n")
        self._stream.flush()
        return len(text)

    def writable(self):
        return True
