"""The commands, as users run them; each has tests of its own beside its part."""

import pytest

from tests.conftest import run_python


@pytest.mark.parametrize("case", ["folder", "port"])
def test_server_that_cannot_start_says_why_in_one_line(server, tmp_path, case):
    flags = {
        "folder": ("--port", 0, "--model_base_path", tmp_path / "nowhere"),
        "port": ("--port", server.port, "--model_base_path", tmp_path),
    }[case]
    done = run_python("-m", "serving", "server", *flags, timeout=60)
    assert done.returncode == 2
    assert {"folder": "no such folder", "port": "cannot listen on"}[case] in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_names_the_commands_and_needs_no_tensorflow():
    done = run_python("-X", "importtime", "-m", "serving", "--help")
    assert done.returncode == 0
    assert {"server", "predict", "load-test", "demo"} <= set(done.stdout.split())
    assert " tensorflow\n" not in done.stderr
