"""Ports of the loopback address that nobody listens on."""

import contextlib
import socket

__all__ = ["free_ports"]


def free_ports(count):
    """Returns ports that were free a moment ago, for a server that must come back on the same one."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
