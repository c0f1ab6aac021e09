"""Starts the workers of a training as processes on this machine."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time

from tests.conftest import ROOT
from tests.processes import started


@contextlib.contextmanager
def started_workers(count, words, logs, **environment):
    """Starts `python <words>` as each of `count` workers, of which none is left behind the block.

    Args:
        count: int.
        words: command line of Python; `{index}` in it becomes the worker's number.
        logs: folder for `<number>.out` and `<number>.err`.
        environment: further variables.

    Yields:
        List of `Popen`.
    """
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = ["127.0.0.1:{}".format(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    logs.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        processes = []
        for index in range(count):
            task = {"type": "worker", "index": index}
            tf_config = json.dumps({"cluster": {"worker": addresses}, "task": task})
            command = [sys.executable, *(str(word).replace("{index}", str(index)) for word in words)]
            variables = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CONFIG": tf_config, **environment}
            with open(logs / f"{index}.out", "w") as out, open(logs / f"{index}.err", "w") as err:
                process = started(command, cwd=ROOT, env=variables, stdout=out, stderr=err)
                processes.append(stack.enter_context(process))
        yield processes


def wait(processes, seconds):
    """Exit codes of processes that must all end within some seconds; those that do not are killed: `None`."""
    end = time.monotonic() + seconds
    codes = []
    for process in processes:
        try:
            codes.append(process.wait(max(0, end - time.monotonic())))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            codes.append(None)
    return codes


def output(logs, count):
    """What the workers printed, for a failed test."""
    names = [f"{index}.{kind}" for index in range(count) for kind in ("out", "err")]
    return "\n".join(f"== {name}\n{(logs / name).read_text()[-3000:]}" for name in names)
