"""A process of its own for what takes much memory, from both sides; how it failed is said in one line."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from lts_keras.export import ExportError

__all__ = ["TASK_FILE", "run_child", "run_task"]

TASK_FILE = "task.json"
"""In the folder that such a process is given: what it has to do."""

_ROOT = Path(__file__).resolve().parents[3]


def run_child(module, folder, what):
    """Runs `python -m module folder` and waits for it.

    Args:
        module: str, one that ends in `run_task`.
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


def run_task(function):
    """What such a module does when it is run: calls `function(folder)` and ends the process.

    An error is the last line on the error stream, with the exit code 1.
    """
    (folder,) = sys.argv[1:]
    try:
        function(folder)
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")
