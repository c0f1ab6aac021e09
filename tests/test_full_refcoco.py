"""The way to a row of table 1, as docs/full-refcoco.md has it, dry: the real configuration narrow, on two devices."""

import csv
import os
import re
from pathlib import Path

import pytest

from lts_keras.commands.cli import main, make_parser
from tests.conftest import ROOT, run_python

PAGE = ROOT / "docs/full-refcoco.md"
NARROW = [
    "data.sources.0.rename_splits={val: train, testA: val, testB: testA}",
    "data.check.published_counts=false",
    "data.check.max_unknown_words=1",
    "weights.backbone=random",
    "weights.glove=random",
    "model.backbone=darknet_tiny",
    "model.image_size=64",
    "model.joint_dim=16",
    "model.fusion_dim=16",
    "model.aspp_dim=16",
    "model.gru_units=16",
    "train.batch_size=2",
    "train.epochs=1",
    "train.num_devices=2",
    "evaluate.bootstrap_samples=20",
]


@pytest.mark.slow
def test_one_row_from_files_to_table_on_two_devices(tmp_path):
    shared = os.environ.get("LTS_TEST_DATA")
    if not shared:
        pytest.skip("needs LTS_TEST_DATA, a folder with data/refer")
    common = ["--config", str(ROOT / "configs/refcoco.yaml"), "--workdir", str(tmp_path / "w")]
    keys = [f"data.root={Path(shared) / 'data/refer'}", *NARROW]
    for command in ("prepare", "train", "evaluate"):
        done = run_python("-m", "lts_keras.commands.cli", command, *common, *keys)
        assert done.returncode == 0, f"{command}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
    assert main(["table", str(tmp_path / "w"), "--tables", "1", "--output", str(tmp_path / "t.csv")]) == 0
    rows = [row for row in csv.DictReader((tmp_path / "t.csv").read_text().splitlines()) if "ours" in row["source"]]
    assert {(row["column"], row["metric"]) for row in rows} == {
        (f"RefCOCO {split}", metric) for split in ("val", "testA") for metric in ("mean_iou", "overall_iou")
    }
    assert all(row["row"] == "Method: LTS / Backbone: DarkNet53 / DCRF: no" for row in rows)


def test_every_command_of_the_page_parses_and_names_files_that_are_there():
    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    commands = [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]
    assert len(commands) > 10
    for command in commands:
        command = command.replace("$DATA", "data").replace("$WEIGHTS", "weights")
        words = command.split()
        assert words[0] == "lts", command
        make_parser().parse_known_args(words[1:])
        for path in re.findall(r"configs/[\w.]+", command):
            assert (ROOT / path).is_file(), command
