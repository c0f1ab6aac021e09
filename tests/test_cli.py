import io
import subprocess
import sys

import pytest
import yaml

from lts_keras.commands import cli
from lts_keras.commands.commandline import run_command
from lts_keras.config.read import parse_config


def test_help_names_every_command_with_an_example(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0
    for command in ("prepare", "train", "evaluate", "export", "predict", "report", "inspect"):
        assert f"\n    {command} " in text
    assert "examples:" in text and "exit codes" in text


def test_help_needs_no_tensorflow(repo):
    code = "import sys, lts_keras.commands.cli as c; c.make_parser(); sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=repo).returncode == 0


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["train", "--config", "nope.yaml", "--workdir", "w"], "nope.yaml: cannot read the configuration"),
        (["train", "train.epoch=3", "--config", "{config}", "--workdir", "w"], "unknown key 'train.epoch'"),
        (["train", "--config", "{config}", "--workdir", "w"], "run `lts prepare` first"),
        (["evaluate", "--config", "{config}", "--workdir", "w"], "preset/model.json: no such file"),
        (["export", "--config", "{config}", "--workdir", "w"], "preset/model.json: no such file"),
        (["report", "--config", "{config}", "--workdir", "w"], "run `lts evaluate` first"),
        (["predict", "--config", "{config}", "--workdir", "w", "--image", "no.jpg", "--expression", "a"], "no.jpg"),
        (["predict", "--config", "{config}", "--workdir", "w", "--image", "{config}", "--expression", " "], "empty"),
        (["inspect", "weights", "--config", "{config}", "--workdir", "w"], "weights.backbone"),
        (["inspect", "glove", "--config", "{config}", "--workdir", "w"], "weights.glove"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_exit_code_2(words, line, tmp_path, tiny_config, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main([word.format(config=tiny_config) for word in words]) == 2
    message = capsys.readouterr().err
    assert line in message and message.count("\n") == 1 and message.startswith(f"lts {words[0]}: ")


@pytest.mark.parametrize(
    "words", [["train"], ["fly"], ["train", "--config", "c", "--workdir", "w", "loose"], ["train", "--epochs", "3"]]
)
def test_wrong_use_ends_with_code_2(words, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    assert end.value.code == 2
    assert "usage: lts" in capsys.readouterr().err


def test_a_folder_in_use_is_told(tmp_path, tiny_config, capsys):
    from lts_keras.utils.workdir import lock

    with lock(tmp_path / ".lock"):
        assert cli.main(["prepare", "--config", str(tiny_config), "--workdir", str(tmp_path)]) == 1
    assert "is in use by process" in capsys.readouterr().err


def test_the_resolved_configuration_is_printed_and_left_in_the_folder(tmp_path, tiny_config, capsys):
    words = ["prepare", "--check-only", "--config", str(tiny_config), "seed=5", "--workdir", str(tmp_path), "name=mine"]
    assert cli.main(words) == 0
    resolved = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert (resolved["seed"], resolved["name"], resolved["train"]["epochs"]) == (5, "mine", 2)
    printed = capsys.readouterr().out
    assert f"# configuration, the whole in {tmp_path}/config.yaml: differs from the defaults in\n" in printed
    assert "\nseed: 5\n" in printed and "max_minutes" not in printed and parse_config(resolved)
    assert (tmp_path / "data/check/report.html").is_file() and not (tmp_path / "data/manifest.json").exists()


def test_a_terminal_of_another_encoding_gets_escapes(monkeypatch):
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding="latin-1"))
    assert run_command("lts prepare", lambda: print("caf\u00e9 \u676f")) == 0
    assert content.getvalue() == b"caf\xe9 \\u676f\n"
