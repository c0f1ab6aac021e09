"""A process that is a server: signals end it, and it is out in time."""

import logging
import os
import signal
import sys
import threading

from serving.server import Server

__all__ = ["lame_duck_seconds", "serve"]

logger = logging.getLogger(__name__)


def lame_duck_seconds(grace_seconds):
    """How long new requests are still taken after SIGTERM: balancers need some seconds to read the turned health."""
    return min(5.0, grace_seconds / 4)


def serve(models, options):
    """Runs a server until SIGTERM or SIGINT, then lets the running requests end; a second signal waits for nothing.

    Does not return: the process ends here, with exit code 0, whatever TensorFlow's threads are in the middle of.

    Args:
        models: as for `Server`.
        options: `ServerOptions`.

    Raises:
        StartError: as `Server`.
    """
    server = Server(models, options)
    # An `Event` set by a signal that comes while this thread is about to wait for it would lock itself out.
    awaited, awakening = os.pipe()
    signals, failures = [], []

    def end(number, _):
        if signals:
            os._exit(1)
        signals.append(number)

    # The byte is written by C, at once: a handler of Python's own waits for a main thread that waits for the byte.
    os.set_blocking(awakening, False)
    signal.set_wakeup_fd(awakening, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)

    def start():
        try:
            server.start()
        except BaseException as error:
            failures.append(error)
            os.write(awakening, b"!")

    # Signals are handled by the main thread, which must not be deep in a load then.
    threading.Thread(target=start, name="start", daemon=True).start()
    os.read(awaited, 1)
    if failures:
        raise failures[0]
    # Whatever hangs, in a model or in a client, the process is out in time.
    alarm = threading.Timer(options.grace_seconds, os._exit, (0,))
    alarm.daemon = True
    alarm.start()
    server.stop(lame_duck_seconds(options.grace_seconds))
    logger.info("Stopped")
    logging.shutdown()
    sys.stdout.flush()
    # A load cannot be broken off, and Python must not end under a thread that is deep in TensorFlow.
    os._exit(0)
