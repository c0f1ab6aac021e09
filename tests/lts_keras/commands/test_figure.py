"""The same photos under two presets: a picture a line, a page, and one line for each mistake in the file."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from lts_keras.commands import figure
from lts_keras.commands.cli import main
from tests.small_models import photo_bytes, small_model


@pytest.fixture(scope="module")
def presets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("presets")
    for seed, (name, side) in enumerate((("first", 64), ("second", 96))):
        small_model(seed, image_size=side).save_to_preset(folder / name / "train" / "preset")
    return [folder / "first" / "train" / "preset", folder / "second"]


@pytest.fixture
def asked(tmp_path):
    folder = tmp_path / "asked"
    folder.mkdir()
    (folder / "photo.jpg").write_bytes(photo_bytes(60, 80))
    mask = np.zeros((60, 80), "uint8")
    mask[10:40, 20:60] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    lines = [
        {"image": "photo.jpg", "expression": "the left $dog$ & <man>", "mask": "mask.png"},
        {"image": "photo.jpg", "expression": "red circle"},
    ]
    (folder / "asked.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    return folder / "asked.jsonl"


def draw(presets, asked, output, *further):
    return main(
        ["figure", "--presets", *map(str, presets), "--expressions", str(asked), "--output", str(output), *further]
    )


def test_a_page_and_a_picture_for_each_line(presets, asked, tmp_path, monkeypatch):
    monkeypatch.setattr(figure, "LINES_A_PAGE", 1)
    output = tmp_path / "out"
    assert draw(presets, asked, output) == 0
    names = sorted(path.name for path in output.iterdir())
    assert names == ["0001.png", "0002.png", "page_1.pdf", "page_1.svg", "page_2.pdf", "page_2.svg"]
    page = (output / "page_1.svg").read_text()
    texts = re.findall(r"<text[^>]*>(.*?)</text>", page)
    assert texts == [
        "photo", "first", "prior", "mask", "second", "prior", "mask", "truth", "“the left $dog$ &amp; &lt;man&gt;”",
    ]  # fmt: skip
    assert page.count("<image ") == 1 + 2 * 2 + 1
    # Without truth there is no column for it.
    assert (output / "page_2.svg").read_text().count("<image ") == 1 + 2 * 2
    assert b"/Font" in (output / "page_1.pdf").read_bytes()
    with Image.open(io.BytesIO((output / "0001.png").read_bytes())) as first, Image.open(output / "0002.png") as other:
        assert first.width > other.width


def test_the_masks_are_the_presets_own(presets, asked, tmp_path):
    """The truth's green and the answers' red lie where they should."""
    seen = []
    original = figure.write_page
    figure.write_page = lambda path, rows, names: seen.append((rows, names)) or original(path, rows, names)
    try:
        assert draw(presets[1:], asked, tmp_path / "out", "--names", "A") == 0
    finally:
        figure.write_page = original
    ((rows, names),) = seen
    assert names == ["A"]
    photo, truth = rows[0]["photo"].astype(int), rows[0]["truth"].astype(int)
    changed = np.abs(truth - photo).sum(-1) > 0
    assert changed[12:38, 22:58].all() and not changed[:5].any() and not changed[:, 65:].any()
    answer = small_model(1, image_size=96).predictor()(asked.parent / "photo.jpg", "red circle")
    drawn = np.abs(rows[1]["models"][0][1].astype(int) - rows[1]["photo"].astype(int)).sum(-1) > 0
    assert 0 < answer.mask.mean() < 1 and drawn[answer.mask].mean() > 0.95
    assert drawn.mean() < 1 or answer.mask.mean() > 0.9


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ("[]", "must be an object"),
        ('{"image": "photo.jpg", "expression": "a", "size": 1}', "unknown key 'size'"),
        ('{"image": "photo.jpg"}', "expression must be a text"),
        ('{"image": "photo.jpg", "expression": "?!"}', "must have a word"),
        ('{"image": "none.jpg", "expression": "dog"}', "none.jpg"),
        ('{"image": "photo.jpg", "expression": "dog", "mask": "none.png"}', "none.png"),
        ('{"image": "photo.jpg", "expression": "dog", "mask": "small.png"}', "5 x 4, and the photo is 80 x 60"),
        ('{"image": "photo.jpg", "expression": "dog", "mask": 3}', "mask must be a path"),
    ],
)
def test_a_bad_line_is_named_before_any_model_is_read(presets, asked, tmp_path, capsys, line, said):
    Image.fromarray(np.zeros((4, 5), "uint8")).save(asked.parent / "small.png")
    asked.write_text(f"{asked.read_text().splitlines()[0]}\n{line}\n")
    assert draw(presets, asked, tmp_path / "out") == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert f"{asked}:2: " in told and said in told and not (tmp_path / "out").exists()


def test_wrong_presets_names_and_keys_are_one_line(presets, asked, tmp_path, capsys):
    assert draw([tmp_path], asked, tmp_path / "out") == 2
    assert draw(presets, asked, tmp_path / "out", "--names", "A") == 2
    assert draw(presets, asked, tmp_path / "out", "train.epochs=3") == 2
    asked.write_text("\n")
    assert draw(presets, asked, tmp_path / "out") == 2
    told = capsys.readouterr().err.splitlines()
    expected = ("model.json: no such file", "one for each of 2 presets", "only imports=", "no line")
    assert len(told) == 4 and all(part in line for part, line in zip(expected, told, strict=True))
