import argparse

import pytest

from lts_keras.commands.commandline import add_config_arguments, one_line, parse, run_command
from lts_keras.config.errors import ConfigError


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser()
    command = parser.add_subparsers(dest="command").add_parser("go")
    add_config_arguments(command)
    command.add_argument("--workdir")
    return parser


@pytest.mark.parametrize(
    "words",
    [
        ["go", "a.b=1", "c=2", "--config", "f", "--workdir", "w"],
        ["go", "--config", "f", "a.b=1", "--workdir", "w", "c=2"],
        ["go", "--config", "f", "--workdir", "w", "a.b=1", "c=2"],
    ],
)
def test_overrides_may_stand_anywhere_behind_the_command(parser, words):
    options = parse(parser, words)
    assert (options.overrides, str(options.config), options.workdir) == (["a.b=1", "c=2"], "f", "w")


@pytest.mark.parametrize("word", ["loose", "--unknown=3"])
def test_other_words_are_refused(parser, word, capsys):
    with pytest.raises(SystemExit) as end:
        parse(parser, ["go", "--config", "f", word])
    assert end.value.code == 2 and f"unknown arguments: {word}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "subject", "overrides"),
    [
        (["go", "thing", "a.b=1"], "thing", ["a.b=1"]),
        (["go", "--config", "f", "a.b=1", "--workdir", "w", "thing"], "thing", ["a.b=1"]),
        (["go", "a.b=1"], None, ["a.b=1"]),
        (["go"], None, []),
    ],
)
def test_a_command_may_take_one_further_word(words, subject, overrides):
    parser = argparse.ArgumentParser()
    command = parser.add_subparsers(dest="command").add_parser("go")
    add_config_arguments(command, required=False)
    command.add_argument("--workdir")
    command.set_defaults(subject=None)
    options = parse(parser, words)
    assert (options.subject, options.overrides) == (subject, overrides)
    with pytest.raises(SystemExit):
        parse(parser, ["go", "one", "two"])


class Refused(RuntimeError):
    exit_code = 7


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("data.root: nowhere"), 2, "lts go: data.root: nowhere\n"),
        (Refused("two\n  lines"), 7, "lts go: two lines\n"),
        (ZeroDivisionError("oh"), 1, "lts go: ZeroDivisionError: oh\n"),
        (KeyboardInterrupt(), 130, "lts go: interrupted; the same command goes on from here\n"),
    ],
)
def test_a_failure_is_one_line_and_its_code(error, code, line, capsys):
    def fail():
        raise error

    assert run_command("lts go", fail) == code
    assert capsys.readouterr().err == line


def test_a_traceback_comes_when_asked_for(capsys):
    assert run_command("lts go", lambda: 1 / 0, verbose=True) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_error_that_nobody_worded_is_cut():
    assert len(one_line(RuntimeError("x" * 5000))) < 400
