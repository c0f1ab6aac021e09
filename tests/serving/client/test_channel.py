"""The way to the server: proxies, sockets of this machine, TLS and its files."""

import asyncio
import time

import grpc
import pytest

from serving.client import NO_RETRIES, AsyncClient, Client, ServingError, read_credentials
from serving.client.channel import channel_options, is_local
from serving.errors import UsageError
from tests.conftest import run_python
from tests.serving.certificates import make_certificates
from tests.serving.client.scripted import scripted_server

LOCAL = ("localhost:1", "127.0.0.1:1", "127.3.2.1:1", "[::1]:1", "ipv6:[::1]:1", "ipv4:127.0.0.1:1", "LOCALHOST.:1")
LOCAL += ("dns:///localhost:1", "dns://8.8.8.8/localhost:1", "0.0.0.0:1", "[::]:1", "unix:/a/b", "unix:///a/b", "[::1]")
LOCAL += ("unix-abstract:name", "a.localhost:1", "[::ffff:127.0.0.1]:1")
REMOTE = (
    "example.org:1",
    "10.0.0.1:1",
    "localhost.example.org:1",
    "[2001:db8::1]:1",
    "dns:///example.org:1",
    "127.org:1",
)


@pytest.mark.parametrize("target", LOCAL + REMOTE)
def test_what_is_on_this_machine(target):
    assert is_local(target) == (target in LOCAL)
    assert (dict(channel_options(target)).get("grpc.enable_http_proxy") == 0) == (target in LOCAL)


ASK = """import asyncio, sys
from serving.client import AsyncClient, Client
async def run():
    async with AsyncClient(sys.argv[1]) as client:
        return await client.status(10)
with Client(sys.argv[1]) as client:
    print(*client.status(10), *asyncio.run(run()))
"""


def test_a_proxy_is_not_asked_on_the_way_to_this_machine(monkeypatch):
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody listens
    for name in ("no_proxy", "no_grpc_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with scripted_server() as (target, _):
        started = time.monotonic()
        done = run_python("-c", ASK, target, timeout=60)
        assert done.stdout.split() == ["5", "5"], done.stderr
        assert time.monotonic() - started < 20


def test_a_unix_socket_is_asked(tmp_path):
    with scripted_server(address=f"unix:{tmp_path}/socket") as (target, _), Client(target) as client:
        assert list(client.status()) == [5]

        async def run():
            async with AsyncClient(target) as asking:
                return list(await asking.status())

        assert asyncio.run(run()) == [5]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("certificates"), server_name="photos.example")


@pytest.fixture(scope="module")
def secure_target(certificates):
    """A server that wants a certificate of its clients."""
    pair = (certificates.server_key.read_bytes(), certificates.server.read_bytes())
    credentials = grpc.ssl_server_credentials([pair], certificates.ca.read_bytes(), require_client_auth=True)
    with scripted_server(credentials=credentials) as (target, _):
        yield target


def status_over_tls(target, credentials, server_name="photos.example"):
    with Client(target, credentials=credentials, server_name=server_name, retries=NO_RETRIES, timeout=20) as client:
        return list(client.status())


def test_both_sides_show_certificates(secure_target, certificates):
    credentials = read_credentials(certificates.ca, certificates.client, certificates.client_key)
    assert status_over_tls(secure_target, credentials) == [5]

    async def run():
        options = {"credentials": credentials, "server_name": "photos.example"}
        async with AsyncClient(secure_target, **options) as client:
            return list(await client.status())

    assert asyncio.run(run()) == [5]


@pytest.mark.parametrize("wrong", ["no client certificate", "unknown authority", "other name", "plain text"])
def test_a_wrong_certificate_is_refused(secure_target, certificates, wrong):
    own = (certificates.client, certificates.client_key)
    credentials = {
        "no client certificate": read_credentials(certificates.ca),
        "unknown authority": read_credentials(certificates.other, *own),
        "other name": read_credentials(certificates.ca, *own),
        "plain text": None,
    }[wrong]
    with pytest.raises(ServingError, match="cannot be reached") as error:
        status_over_tls(secure_target, credentials, None if wrong == "other name" else "photos.example")
    assert error.value.code == grpc.StatusCode.UNAVAILABLE


def test_wrong_files_are_named(certificates, tmp_path):
    (tmp_path / "empty.pem").write_bytes(b"")
    for arguments, message in (
        ((tmp_path / "none.pem",), "none.pem: cannot read the file: No such file"),
        ((tmp_path / "empty.pem",), "empty.pem: no PEM file with a certificate"),
        ((certificates.client_key,), "client.key: no PEM file with a certificate"),
        ((None, certificates.client, certificates.client), "client.pem: no PEM file with a private key"),
        ((None, certificates.client), "go together. Received: the certificate without the key"),
        ((None, None, certificates.client_key), "go together. Received: the key without the certificate"),
    ):
        with pytest.raises(UsageError, match=message):
            read_credentials(*arguments)
