"""How a server runs, and what can be found wrong with it before anything slow is imported."""

import dataclasses
import socket
from pathlib import Path

from serving.core.versions import ModelSettings
from serving.errors import StartError

__all__ = ["ServerOptions", "check_port", "make_settings"]


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    """How a server runs.

    Attributes:
        host: address to listen on.
        port: gRPC port; 0 takes any that is free, `Server.port` says which.
        rest_port: HTTP port; `None` for none, 0 takes any that is free, `Server.rest_port` says which.
        poll_seconds: time between two looks for new versions; 0 never looks again.
        warm_up: whether a version's recorded requests are run before it is served.
        max_predictions: predictions at a time; more are refused with `RESOURCE_EXHAUSTED`.
        grace_seconds: how long running requests may take when the server stops.
    """

    host: str = "0.0.0.0"
    port: int = 8500
    rest_port: int | None = None
    poll_seconds: float = 1.0
    warm_up: bool = True
    max_predictions: int = 32
    grace_seconds: float = 30.0

    def __post_init__(self):
        if self.max_predictions < 1:
            raise StartError(f"max_predictions must be at least 1. Received: {self.max_predictions}")
        if self.port and self.port == self.rest_port:
            raise StartError(f"the gRPC and the HTTP port must differ. Received: {self.port} for both")


def make_settings(models):
    """Checks the folders of models.

    Args:
        models: dict from model name to the folder with its version folders, or to `ModelSettings`.

    Returns:
        dict from model name to `ModelSettings`.

    Raises:
        StartError: if a folder is missing.
    """
    settings = {}
    for name, value in models.items():
        settings[name] = value if isinstance(value, ModelSettings) else ModelSettings(Path(value))
        folder = settings[name].base_path
        if not folder.is_dir():
            raise StartError(f"{folder}: no such folder; model {name!r} needs one with a folder per version")
    return settings


def check_port(host, port):
    """Raises `StartError` if nobody could listen on this port now; 0 is always well."""
    if not 0 <= port <= 65535:
        raise StartError(f"a port must be in 0..65535. Received: {port}")
    with socket.socket() as probe:
        # As a server does: a port whose last connections are still fading out may be taken again.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StartError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
