"""TLS of the gRPC port as an `SSLConfig` file sets it, with real certificates."""

import grpc
import numpy as np
import pytest
from google.protobuf import text_format

from serving.client import Client
from serving.client.retries import NO_RETRIES
from serving.config_files import read_ssl
from serving.errors import ServingError, StartError
from serving.options import ServerOptions
from serving.server import Server
from serving.wire.protos import SSLConfig
from tests.serving.certificates import make_certificates
from tests.serving.core.model_folders import publish


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def base(half_plus_two, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    publish(half_plus_two, folder, 1)
    return folder


def write(path, certificates, **changes):
    """An `SSLConfig` text proto; a change of `None` leaves a field out."""
    fields = {
        "server_key": certificates.server_key.read_text(),
        "server_cert": certificates.server.read_text(),
    } | changes
    message = SSLConfig(**{name: value for name, value in fields.items() if value is not None})
    path.write_text(text_format.MessageToString(message))
    return path


def ask(port, certificates, ca="ca", client=False):
    """`y` for x = 2, as a client that trusts `ca` and may show a certificate."""
    credentials = grpc.ssl_channel_credentials(
        getattr(certificates, ca).read_bytes(),
        certificates.client_key.read_bytes() if client else None,
        certificates.client.read_bytes() if client else None,
    )
    target = f"localhost:{port}"
    with Client(target, model_name="m", timeout=10, credentials=credentials, retries=NO_RETRIES) as asking:
        return float(asking.predict({"x": np.array([2.0], np.float32)})[0]["y"][0])


def serving(base, path):
    return Server({"m": base}, ServerOptions(host="127.0.0.1", port=0, ssl=read_ssl(path), enable_model_warmup=False))


def test_who_trusts_the_authority_is_answered_and_nobody_in_plain_text(certificates, base, tmp_path):
    with serving(base, write(tmp_path / "ssl.config", certificates)) as server:
        assert ask(server.port, certificates) == 3.0
        with pytest.raises(ServingError) as error:
            ask(server.port, certificates, ca="other")
        assert error.value.code == grpc.StatusCode.UNAVAILABLE
        with Client(f"127.0.0.1:{server.port}", model_name="m", timeout=10, retries=NO_RETRIES) as plain:
            with pytest.raises(ServingError) as error:
                plain.predict({"x": np.array([2.0], np.float32)})
        assert error.value.code == grpc.StatusCode.UNAVAILABLE


def test_mutual_tls_lets_in_clients_of_the_authority_alone(certificates, base, tmp_path):
    mutual = {"custom_ca": certificates.ca.read_text(), "client_verify": True}
    with serving(base, write(tmp_path / "ssl.config", certificates, **mutual)) as server:
        assert ask(server.port, certificates, client=True) == 3.0
        with pytest.raises(ServingError) as error:
            ask(server.port, certificates)
        assert error.value.code == grpc.StatusCode.UNAVAILABLE
    stranger = {"custom_ca": certificates.other.read_text(), "client_verify": True}
    with serving(base, write(tmp_path / "ssl.config", certificates, **stranger)) as server:
        with pytest.raises(ServingError):
            ask(server.port, certificates, client=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"server_key": None}, "server_key is missing"),
        ({"server_cert": None}, "server_cert is missing"),
        ({"server_key": "/etc/server.key"}, "server_key and server_cert are no PEM pair"),
        ({"server_cert": "CA"}, "server_key and server_cert are no PEM pair: "),
        ({"client_verify": True}, "client_verify needs custom_ca"),
        ({"custom_ca": "junk"}, "custom_ca is no PEM certificate"),
    ],
)
def test_what_is_wrong_with_the_file_is_named(certificates, tmp_path, changes, words):
    if changes.get("server_cert") == "CA":
        changes = {"server_cert": certificates.ca.read_text()}
    path = write(tmp_path / "ssl.config", certificates, **changes)
    with pytest.raises(StartError) as error:
        read_ssl(path)
    assert str(error.value).startswith(f"{path}: {words}")
    assert "\n" not in str(error.value)
    assert "PRIVATE" not in str(error.value)
