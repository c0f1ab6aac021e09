import json
import re

import pytest

from benchmarks.table3 import main, steps, table
from tests.conftest import ROOT


def slices(**values):
    return {
        f"scenes/{split}": {name: {"value": value} for name in ("mean_iou", "overall_iou")}
        for split, value in values.items()
    }


def test_the_table_has_the_papers_rows_and_ours_with_their_differences():
    lines = table(slices(val=0.5, testA=0.4), slices(val=0.625, testA=0.375)).splitlines()
    assert lines[0] == "|  | metric | val | testA | testB |"
    assert lines[2] == "| paper: CMPC | IoU | 61.36 | 64.53 | 59.64 |"
    assert lines[4] == "| paper: difference | IoU | 1.39 | 0.81 | 1.44 |"
    assert lines[5] == "| ours, drawn scenes: weaker model | mean_iou | 50.00 | 40.00 |  |"
    assert lines[7] == "| ours, drawn scenes: difference | mean_iou | 12.50 | -2.50 |  |"
    assert len(lines) == 11


def test_the_page_shows_the_commands_that_the_benchmark_runs():
    page = (ROOT / "docs/refiner.md").read_text(encoding="utf-8")
    shown = [line for block in re.findall(r"```bash\n(.*?)```", page, re.S) for line in block.splitlines()]
    planned = steps("runs/table3", "configs/scenes_weak.yaml", "configs/scenes_refiner.yaml")
    assert [line.removeprefix("lts ").split() for line in shown if line.startswith("lts ")] == planned
    assert "python benchmarks/table3.py" in shown


@pytest.mark.slow
def test_all_steps_run_and_end_in_the_table(tmp_path, capsys):
    weak = {
        "data": {"sources": [{"kind": "scenes", "num_photos": {"train": 4, "val": 3}, "photo_size": [48, 64]}]},
        "model": {"variant": "table2_fusion_filter", "image_size": 32, "backbone": "darknet_tiny", "embedding_dim": 4}
        | {"trainable_backbone": "all", "gru_units": 4, "joint_dim": 8, "fusion_dim": 2},
        "train": {"epochs": 1, "batch_size": 4, "sampling": "per_image", "validation_split": None},
    }
    refiner = {
        "model": {"refiner_channels": 4, "aspp_dim": 2, "aspp_rates": [1]},
        "train": {"epochs": 1, "validation_split": None},
    }
    for name, values in (("weak", weak), ("refiner", refiner)):
        values["evaluate"] = {"bootstrap_samples": 2}
        (tmp_path / f"{name}.yaml").write_text(json.dumps(values))
    words = ["--workdir", tmp_path, "--weak", tmp_path / "weak.yaml", "--refiner", tmp_path / "refiner.yaml"]
    assert main(list(map(str, words))) == 0
    printed = capsys.readouterr().out
    assert (
        printed.count("$ lts ") == 6
        and "| ours, drawn scenes: weaker model + segmentation module | mean_iou | " in printed
    )
