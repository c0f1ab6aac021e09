"""Starts a process of its own for what takes much memory, and says in one line how it failed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from lts_keras.export import ExportError

__all__ = ["run_child"]

_ROOT = Path(__file__).resolve().parents[3]


def run_child(module, folder, what):
    """Runs `python -m module folder` and waits for it.

    Args:
        module: str, whose `main` prints an error as the last line of the error stream.
        folder: path of the folder with the task.
        what: str for messages, what is being done.

    Raises:
        ExportError: the process failed or was killed.
    """
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")])),
        # The order of sets, in which the converter meets nodes.
        "PYTHONHASHSEED": "0",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    command = [sys.executable, "-m", module, str(folder)]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode == 0:
        return
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise ExportError(f"{what}: the process was ended by {name}; the memory may not have sufficed")
    lines = [line for line in done.stderr.splitlines() if line.strip()] or ["without a word"]
    raise ExportError(f"{what}: {lines[-1].strip()[:500]}")
