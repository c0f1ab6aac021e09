"""Processes that tests start: none outlives its test, whatever fails."""

import contextlib
import os
import signal
import subprocess


@contextlib.contextmanager
def started(command, **options):
    """A process of a process group of its own, of which nothing is left behind the block.

    Args:
        command: list of words.
        **options: those of `subprocess.Popen`.

    Yields:
        The `Popen`.
    """
    process = subprocess.Popen([str(word) for word in command], start_new_session=True, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
