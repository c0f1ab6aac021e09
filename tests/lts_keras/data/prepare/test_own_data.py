"""docs/own-data.md, followed literally."""

import json
import re
import shlex
import subprocess
import sys

import jsonschema
import numpy as np
import pytest
from PIL import Image, ImageDraw

from lts_keras.data.prepare.masks import encode_mask

COLORS = {"mug": "#c02020", "book": "#2040c0"}


@pytest.fixture(scope="module")
def page(repo):
    return (repo / "docs" / "own-data.md").read_text(encoding="utf-8")


def blocks(page, kind):
    """Text of the fenced blocks of a kind, with the file name after it, if any."""
    return re.findall(rf"```{kind}(?: (\S+))?\n(.*?)```", page, flags=re.DOTALL)


def draw_photos(folder, lines):
    """A photo for each line, with its objects where the page says they are."""
    for line in lines:
        picture = Image.new("RGB", (320, 200), "#b0a890")
        for item in line["objects"]:
            corners = item.get("polygons", [[60, 50, 150, 50, 150, 140, 60, 140]])[0]
            if not item.get("no_target"):
                ImageDraw.Draw(picture).polygon(corners, fill=COLORS[item["category"]])
            if "mask" in item:
                mask = np.zeros((200, 320), bool)
                mask[50:140, 60:150] = True
                (folder / item["mask"]).parent.mkdir(exist_ok=True)
                (folder / item["mask"]).write_bytes(encode_mask(mask))
        (folder / line["image"]).parent.mkdir(exist_ok=True)
        picture.save(folder / line["image"])


@pytest.fixture(scope="module")
def place(page, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    for name, text in [*blocks(page, "json"), *blocks(page, "yaml")]:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    draw_photos(folder / "own", [json.loads(line) for line in (folder / "own/manifest.jsonl").read_text().splitlines()])
    return folder


def run(command, place):
    program, *arguments = shlex.split(command)
    assert program == "lts"
    command = [sys.executable, "-m", "lts_keras.commands.cli", *arguments]
    return subprocess.run(command, cwd=place, capture_output=True, text=True)


def test_the_lines_fit_the_schema(page, repo):
    schema = json.loads((repo / "lts_keras/data/manifest.schema.json").read_text())
    (_, text), *_ = blocks(page, "json")
    for line in text.splitlines():
        jsonschema.validate(json.loads(line), schema)


def test_the_tree_lists_the_files_of_the_manifest(page, place):
    (_, tree), *_ = blocks(page, "text")
    named = {line.strip() for line in tree.splitlines() if "." in line}
    files = {str(path.relative_to(place / "own")) for path in (place / "own").rglob("*") if path.is_file()}
    assert named == files | {"own.yaml"}


@pytest.mark.slow
def test_the_commands_do_what_the_page_says(page, place):
    commands = [line for _, text in blocks(page, "bash") for line in text.strip().splitlines()]
    assert len(commands) == 4
    for command in commands:
        done = run(command, place)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        if "--check-only" in command:
            assert (place / "runs/own/data/check/report.html").is_file()
            assert not (place / "runs/own/data/manifest.json").exists()
    with Image.open(place / "answer.png") as answer:
        assert answer.height >= 200
    report = json.loads((place / "runs/own/data/check/report.json").read_text())
    assert report["slices"]["own/train"]["box_only"] == 1
    assert report["slices"]["own/train"]["no_target"] == 1


def test_a_wrong_line_is_one_clear_line(place, tmp_path):
    text = (
        (place / "own/manifest.jsonl").read_text().replace('"box": [30, 90, 130, 150]', '"boxes": [30, 90, 130, 150]')
    )
    (tmp_path / "own").mkdir()
    (tmp_path / "own/manifest.jsonl").write_text(text)
    (tmp_path / "own/masks").mkdir()
    (tmp_path / "own/masks/desk-2-mug.png").write_bytes(b"")
    (tmp_path / "own.yaml").write_text((place / "own.yaml").read_text())
    done = run("lts prepare --config own.yaml --workdir runs/own", tmp_path)
    assert done.returncode == 2
    assert re.search(r"manifest.jsonl: line 3: objects.0(.boxes)?: ", done.stderr)
    assert len(done.stderr.strip().splitlines()) == 1
