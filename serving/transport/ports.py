"""Ports that are kept for a server before it answers on them."""

import socket

from serving.errors import StartError

__all__ = ["HeldPort", "address_of"]


class HeldPort:
    """A port that is this process's own, on which nobody is let in yet: a connection is refused, as before a start.

    So that the port is known, and known to be free, before the first model is loaded, and open only after.

    Args:
        host: str.
        port: int; 0 takes any free one, `port` says which.

    Raises:
        StartError: if the port is in use or not allowed.
    """

    def __init__(self, host, port):
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            self._socket = socket.socket(family, kind)
        except OSError as error:
            raise StartError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
        # As a server does: a port whose last connections are still fading out may be taken again; and whoever has the
        # option too may listen on the port while this socket does not.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind(address)
        except OSError as error:
            self._socket.close()
            raise StartError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
        self.port = self._socket.getsockname()[1]

    def release(self):
        """Lets the port go; whoever listens on it by now keeps it."""
        self._socket.close()


def address_of(host, port):
    """Returns `host:port`, with the brackets that an address of IPv6 needs."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
