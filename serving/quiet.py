"""Keeps TensorFlow's start-up messages away from people who asked for something else."""

import contextlib
import os
import sys
import tempfile

__all__ = ["import_tensorflow"]


def import_tensorflow():
    """Imports TensorFlow, without the lines that its libraries print on the error stream.

    They come from C++ before any log level is read, so no setting silences them. If the import fails, they are shown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _held_back():
        import tensorflow  # noqa: F401


@contextlib.contextmanager
def _held_back():
    """Collects what the process writes to file descriptor 2 within the block; passes it on if the block fails."""
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(before, held.read())
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)
