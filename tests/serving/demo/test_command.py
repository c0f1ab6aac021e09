"""`python -m serving demo`: what goes wrong before there is a page."""

import socket

import pytest

from serving.__main__ import main


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (
            ["--host=0.0.0.0"],
            "--host 0.0.0.0: others could use this page, which has no password; --allow_remote lets them",
        ),
        (["--host=::1"], "--host must be an IPv4 address or a name. Received: ::1"),
        (["--port=99999"], "a port must be in 0..65535. Received: 99999"),
        (["--timeout=0", "--port=0"], "--timeout must be above 0 seconds. Received: 0.0"),
    ],
)
def test_a_wrong_flag_is_one_line(flags, line, capsys):
    assert main(["demo", "--target=127.0.0.1:1", *flags]) == 2
    assert capsys.readouterr().err == f"serving demo: {line}\n"


def test_a_port_in_use_is_one_line(capsys):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert main(["demo", "--target=127.0.0.1:1", f"--port={port}"]) == 2
    assert capsys.readouterr().err == f"serving demo: cannot listen on 127.0.0.1:{port}: Address already in use\n"
