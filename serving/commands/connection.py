"""Flags of the commands that ask a server: where it is, which model, and TLS."""

from pathlib import Path

from serving.client import Client, read_credentials
from serving.errors import UsageError

__all__ = ["add_connection_arguments", "open_client", "tls_of"]


def add_connection_arguments(parser):
    """Adds them to an `argparse.ArgumentParser`."""
    parser.add_argument(
        "--target", required=True, metavar="HOST:PORT", help="address of the server; unix:/path for a socket"
    )
    parser.add_argument("--model_name", default="lts", help="name of the model (default: lts)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model_version", dest="version", type=int, help="version to ask (default: the newest)")
    which.add_argument("--version_label", help="label of the version to ask")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for a request (default: 60)")
    parser.add_argument("--tls", action="store_true", help="ask over TLS; implied by the flags below")
    parser.add_argument("--tls_ca", type=Path, metavar="FILE", help="PEM file of the authorities to trust")
    parser.add_argument("--tls_certificate", type=Path, metavar="FILE", help="PEM file of the client's certificate")
    parser.add_argument("--tls_key", type=Path, metavar="FILE", help="PEM file of the client's key")
    parser.add_argument("--tls_server_name", metavar="NAME", help="name in the server's certificate, if another")


def tls_of(options):
    """Whether the flags ask for TLS."""
    return options.tls or any((options.tls_ca, options.tls_certificate, options.tls_key, options.tls_server_name))


def open_client(options, retries=None):
    """Makes the `Client` that the flags describe; raises `UsageError` for a wrong flag or file."""
    if not options.timeout > 0:
        raise UsageError(f"--timeout must be above 0 seconds. Received: {options.timeout}")
    credentials = None
    if tls_of(options):
        credentials = read_credentials(options.tls_ca, options.tls_certificate, options.tls_key)
    return Client(
        options.target,
        options.model_name,
        timeout=options.timeout,
        version=options.version,
        credentials=credentials,
        version_label=options.version_label,
        retries=retries,
        server_name=options.tls_server_name,
    )
