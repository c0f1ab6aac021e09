"""`python -m serving demo`: a web page that asks a server."""

import os
import signal
import threading

from serving.commands.connection import add_connection_arguments, open_client
from serving.errors import UsageError
from serving.options import check_port

__all__ = ["add_arguments", "run"]

_LOOPBACK = ("127.0.0.1", "localhost")


def add_arguments(parser):
    """Adds the command's flags to an `argparse.ArgumentParser`."""
    add_connection_arguments(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=7860, help="port; 0 takes any free one (default: %(default)s)")
    parser.add_argument("--allow_remote", action="store_true", help="let --host be other than loopback")


def run(options):
    """Serves the page until SIGTERM or SIGINT.

    Raises:
        UsageError: for a flag that is wrong, or without the extra `demo`.
        StartError: for a port that is none, or in use.
    """
    if ":" in options.host:
        raise UsageError(f"--host must be an IPv4 address or a name. Received: {options.host}")
    if options.host not in _LOOPBACK and not options.allow_remote:
        raise UsageError(
            f"--host {options.host}: others could use this page, which has no password; --allow_remote lets them"
        )
    check_port(options.host, options.port)
    # Before Gradio is imported, which reads it then.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        from serving.demo.page import Page
    except ImportError as error:
        raise UsageError(f"the page needs Gradio: pip install lts-serving[demo] ({error})") from None
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    with open_client(options) as client, Page(client, options.host, options.port) as page:
        print(f"The page is at {page.url} and asks {options.model_name} at {options.target}", flush=True)
        ending.wait()
