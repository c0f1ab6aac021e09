"""Channels to a server: message sizes, reconnecting, TLS from files, and no proxy on the way to this very machine."""

import ipaddress
import re
from pathlib import Path

import grpc

from serving.errors import UsageError
from serving.wire.tensors import LARGEST_MESSAGE_BYTES

__all__ = ["channel_options", "is_local", "read_credentials"]

_SCHEME = re.compile(r"^(dns|ipv4|ipv6):(//[^/]*/)?")


def is_local(target):
    """Whether a target is on this machine: a Unix socket, `localhost`, or a loopback or unspecified address.

    Args:
        target: str as gRPC takes it: `host:port`, `[::1]:port`, `dns:///host:port`, `ipv4:host:port`, `unix:/path`.
    """
    if target.startswith(("unix:", "unix-abstract:", "/")):
        return True
    address = _SCHEME.sub("", target)
    host = address.rpartition(":")[0] if address.count(":") == 1 or "]:" in address else address
    host = host.strip("[]").lower().rstrip(".")
    if host in ("localhost", "ip6-localhost", "ip6-loopback") or host.endswith(".localhost"):
        return True
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return found.is_loopback or found.is_unspecified


def channel_options(target, server_name=None):
    """What a channel to `target` is opened with.

    Args:
        target: str, see `is_local`.
        server_name: str, the name that the server's certificate has where the target is another, or `None`.

    Returns:
        List of `(name, value)`.
    """
    options = [(f"grpc.max_{way}_message_length", LARGEST_MESSAGE_BYTES) for way in ("send", "receive")]
    # gRPC's own wait between two looks for a server grows to two minutes; here a server that is back is found in two s.
    # `grpc.min_reconnect_backoff_ms` stays as it is: it bounds the time that a handshake may take.
    options += [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 2000)]
    if is_local(target):
        options.append(("grpc.enable_http_proxy", 0))
    if server_name is not None:
        options.append(("grpc.ssl_target_name_override", server_name))
    return options


def read_credentials(ca=None, certificate=None, key=None):
    """Reads the credentials of a TLS channel.

    Args:
        ca: path of a PEM file with the authorities that the server's certificate may come from; the usual ones if
            `None`.
        certificate: path of a PEM file with the client's certificate chain, where the server asks for one.
        key: path of a PEM file with the client's private key; goes with `certificate`.

    Returns:
        `grpc.ChannelCredentials`.

    Raises:
        UsageError: for a file that is missing or no PEM file, or one of certificate and key without the other.
    """
    if (certificate is None) != (key is None):
        given, missing = ("certificate", "key") if key is None else ("key", "certificate")
        raise UsageError(f"a client's certificate and key go together. Received: the {given} without the {missing}")
    return grpc.ssl_channel_credentials(
        root_certificates=_read_pem(ca, "CERTIFICATE"),
        private_key=_read_pem(key, "PRIVATE KEY"),
        certificate_chain=_read_pem(certificate, "CERTIFICATE"),
    )


def _read_pem(path, kind):
    if path is None:
        return None
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot read the file: {error.strerror or error}") from None
    if not re.search(rb"-----BEGIN [A-Z ]*" + kind.encode(), content):
        raise UsageError(f"{path}: no PEM file with a {kind.lower()}")
    return content
