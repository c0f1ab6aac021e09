"""A REST server in a process of its own, whose memory is that of nobody else. Run as `python -m` with model folders."""

import contextlib
import os
import subprocess
import sys
import types
from pathlib import Path

from tests.processes import started

__all__ = ["rest_process"]


@contextlib.contextmanager
def rest_process(models, log, module=__name__):
    """Serves models over REST while the block runs.

    Args:
        models: dict from a model's name to its folder of versions.
        log: path of a file for what the process says.
        module: name of the module that serves; another one may serve something else.

    Yields:
        Namespace with `port`, `grown(work)`, the MiB by which the process grew at most while `work()` ran, and
        `resident()`, the MiB that it has.
    """
    command = [sys.executable, "-m", module]
    command += [f"{name}={folder}" for name, folder in models.items()]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    root = Path(__file__).parents[3]
    with log.open("wb") as errors:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
        with started(command, cwd=root, env=environment, **pipes) as process:
            port = int(process.stdout.readline())
            folder = Path(f"/proc/{process.pid}")

            def figure(name):
                (line,) = [line for line in (folder / "status").read_text().splitlines() if line.startswith(name)]
                return int(line.split()[1]) / 1024

            def grown(work):
                (folder / "clear_refs").write_text("5")  # forgets the highest mark
                before = figure("VmRSS")
                work()
                return figure("VmHWM") - before

            yield types.SimpleNamespace(port=port, grown=grown, resident=lambda: figure("VmRSS"))


def main(arguments):
    """Serves until standard input is closed."""
    from tests.serving.transport.rest_house import open_rest_house  # TensorFlow is only in the new process

    models = dict(argument.split("=", 1) for argument in arguments)
    with open_rest_house(models, rest_timeout_seconds=30.0) as opened:
        print(opened.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1:])
