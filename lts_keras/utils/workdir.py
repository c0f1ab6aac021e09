"""One command at a time in a work directory, and the configuration that it last ran with."""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from lts_keras.utils.files import atomic_write

__all__ = ["BusyError", "lock", "open_workdir"]


class BusyError(RuntimeError):
    """Another command works in the same folder."""

    exit_code = 1


@contextlib.contextmanager
def lock(path, wait_seconds=0.0):
    """Holds a lock file; the system frees it when the process ends, however it ends.

    Args:
        path: path of the lock file; it stays behind empty or with the number of its last holder.
        wait_seconds: how long to wait for the other holder.

    Raises:
        BusyError: if another process holds it still.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + wait_seconds
    with open(path, "a+") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    file.seek(0)
                    holder = file.read().strip() or "unknown"
                    raise BusyError(f"{path.parent} is in use by process {holder}; wait for it or stop it") from None
                time.sleep(0.1)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextlib.contextmanager
def open_workdir(workdir, resolved, wait_seconds=0.0):
    """Locks a work directory for one command and leaves the resolved `config.yaml` there.

    Args:
        workdir: path of the directory; made if need be.
        resolved: str, the configuration as `dump_config` gives it.
        wait_seconds: how long to wait for another command.

    Yields:
        The directory as an absolute `Path`.

    Raises:
        BusyError: if another command runs there.
    """
    workdir = Path(workdir).absolute()
    with lock(workdir / ".lock", wait_seconds):
        atomic_write(workdir / "config.yaml", resolved)
        yield workdir
