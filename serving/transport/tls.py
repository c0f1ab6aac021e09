"""TLS of the gRPC ports, as an `SSLConfig` sets it."""

import grpc

__all__ = ["server_credentials"]


def server_credentials(config):
    """Credentials of a gRPC server.

    Args:
        config: `SSLConfig` message; `None` for plain text.

    Returns:
        `grpc.ServerCredentials`, or `None` for plain text. With `client_verify`, a client without a certificate that
        `custom_ca` signed is not let in.
    """
    if config is None:
        return None
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )
