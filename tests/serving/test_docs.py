"""The code on the page about serving runs as it stands, but for the port and the path of the preset."""

import argparse
import importlib
import re

import pytest

from serving.__main__ import COMMANDS
from serving.flags import FLAGS
from tests.conftest import ROOT
from tests.small_models import photo_bytes


def test_the_clients_on_the_page_work(server, saved_models, tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(photo_bytes())
    saved_models.first.model.save_to_preset(tmp_path / "preset")
    for block in blocks:
        block = block.replace("localhost:8500", f"127.0.0.1:{server.port}")
        exec(block.replace("runs/quickstart/train/preset", "preset"), {})
    assert "(60, 80)" in capsys.readouterr().out


@pytest.mark.parametrize("page", ["docs/serving.md", "docs/deploy.md", "serving/README.md"])
def test_commands_on_the_pages_have_the_flags_that_they_name(page):
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"^python -m serving ([a-z-]+) (.*)$", text, re.MULTILINE)
    assert commands
    for command, words in commands:
        assert set(re.findall(r"(?<!\S)--[a-z_]+", words)) <= flags_of(command), (command, words)
    # In running text, by whichever command has it; those of other programs stand in blocks of code.
    running = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    named = {flag for code in re.findall(r"`([^`]*)`", running) for flag in re.findall(r"(?<!\S)--[a-z_]+", code)}
    assert {flag for flag in named if "_" in flag} <= set().union(*map(flags_of, COMMANDS))


def flags_of(command):
    if command == "server":
        return {f"--{name}" for name in FLAGS}
    parser = argparse.ArgumentParser()
    importlib.import_module(f"serving.commands.{command.replace('-', '_')}").add_arguments(parser)
    return set(parser._option_string_actions)


def test_the_page_tells_the_defaults_that_flags_have():
    page = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    told = re.findall(r"`--([a-z_]+)`[ ,(]+(\d+)", page)
    assert len(told) >= 3
    for name, value in told:
        assert FLAGS[name].default == int(value), name
