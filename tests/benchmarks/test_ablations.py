"""The program of the ablations: what it runs, what it goes on with, and what it prints; no row is trained here."""

import json
import re
import sys

import numpy as np
import pytest

from lts_keras.config.read import load_config
from lts_keras.data.sources.scene_drawing import Look
from tests.conftest import ROOT

sys.path.append(str(ROOT / "benchmarks"))  # last: benchmarks/serving.py is not the package
import ablation_backbone
import ablation_rows
import ablations


def config(row):
    changes = ["weights.backbone=backbone.keras", *ablation_rows.ROWS[row].changes]
    return load_config(ablations.CONFIG, changes)


@pytest.mark.parametrize(
    ("row", "fusion", "locator", "segmentation", "location_weight"),
    [
        ("table2_fusion", True, None, False, 0),
        ("table2_filter", False, "filter", False, 0),
        ("table2_fusion_filter", True, "filter", False, 0),
        ("table2_fusion_segmentation", True, None, True, 0),
        ("table2_filter_segmentation", False, "filter", True, 0),
        ("table2_fusion_filter_segmentation", True, "filter", True, 0),
        ("table2_full", True, "filter", True, 0.1),
        ("table4_transformer", True, "transformer", True, 0.1),
        ("table5_word_filter", True, "word_filter", True, 0.1),
    ],
)
def test_rows_are_the_papers(row, fusion, locator, segmentation, location_weight):
    found = config(row)
    assert (found.model.fusion, found.model.locator, found.model.segmentation) == (fusion, locator, segmentation)
    assert found.train.location_weight == location_weight
    assert found.model.image_size == 96 and found.model.num_filters == 1


def test_rows_differ_from_the_full_model_in_nothing_else():
    allowed = {"fusion", "locator", "segmentation", "num_filters", "image_size", "variant"}
    full = config("table2_full").model_dump()
    for row in ablation_rows.ROWS:
        other = config(row).model_dump()
        assert {key for key in full["model"] if full["model"][key] != other["model"][key]} <= allowed, row
        assert {key for key in full["train"] if full["train"][key] != other["train"][key]} <= {"location_weight"}, row
        assert full["data"] == other["data"] and full["evaluate"] == other["evaluate"], row
    assert [config(f"table5_filters_{count}").model.num_filters for count in (2, 3)] == [2, 3]
    assert [config(f"table6_{size}").model.image_size for size in ("smaller", "larger")] == [64, 128]
    star = config("table7_lts_star").model
    assert (star.locator, star.num_filters, star.image_size) == ("transformer", 2, 128)


def test_every_row_stands_in_a_table_of_the_paper():
    shown = {row for lines in ablation_rows.TABLES.values() for row, _, _ in lines.values()}
    assert shown == set(ablation_rows.ROWS)
    # From the paper's tables 2, 5 and 6; table 4 has val alone of RefCOCO.
    assert ablation_rows.paper_scores(2, 0) == (55.08, 56.82, 53.52)
    assert ablation_rows.paper_scores(2, 6) == (65.43, 67.76, 63.08)
    assert ablation_rows.paper_scores(5, 3) == (64.92, 67.31, 62.50)
    assert ablation_rows.paper_scores(6, 5) == (65.90, 68.16, 63.45)
    assert ablation_rows.paper_scores(4, 1) == (66.15, None, None)


def write_metrics(file, val, seed=0):
    file.parent.mkdir(parents=True)
    values = {key: {"value": val} for key in ("mean_iou", "overall_iou", "localization_accuracy")}
    slices = {f"scenes/{split}": values | {"num_expressions": 5} for split in ("val", "testA", "testB")}
    content = {
        "slices": slices,
        "threshold": 0.35,
        "model": {"image_size": 96},
        "config": config("table2_full").model_dump(mode="json") | {"seed": seed},
        "data_digest": "0",
    }
    file.write_text(json.dumps(content))


def test_a_run_goes_on_with_what_is_missing(tmp_path):
    run = ablations.Run("table2_full", 1, tmp_path)
    names = [(command[0], command[-1]) for command in run.commands("c.yaml", ["train.epochs=2"])]
    assert names[0] == ("train", "seed=1")
    assert [name for name, _ in names] == ["train", "evaluate", "evaluate", "evaluate"]
    assert [last for _, last in names[2:]] == ["evaluate.image_size=64", "evaluate.image_size=128"]
    files = run.metrics_files()
    write_metrics(files[None], 0.5)
    write_metrics(files[64], 0.5)
    assert [command[-1] for command in run.commands("c.yaml", [])] == ["seed=1", "evaluate.image_size=128"]
    write_metrics(files[128], 0.5)
    assert run.commands("c.yaml", []) == []


def test_runs_come_seed_by_seed_and_a_failed_one_ends_the_program(tmp_path, monkeypatch, capsys):
    started = []

    def start(commands, threads):
        folder = commands[0][commands[0].index("--workdir") + 1].rpartition("/")[2]
        started.append(folder)
        if folder == "table2_filter-1":
            return 3
        write_metrics(tmp_path / folder / "evaluate" / "metrics.json", 0.25)
        return 0

    monkeypatch.setattr(ablations, "start", start)
    monkeypatch.setattr(ablations, "settle", lambda args, workdir: [])
    arguments = ["--workdir", str(tmp_path), "--rows", "table2_fusion", "table2_filter", "--seeds", "0", "1"]
    assert ablations.main(arguments) == 3
    assert started == ["table2_fusion-0", "table2_filter-0", "table2_fusion-1", "table2_filter-1"]
    assert "table2_filter, seed 1: ended with 3" in capsys.readouterr().err
    started.clear()
    assert ablations.main(arguments) == 3 and started == ["table2_filter-1"]


def test_tables_have_mean_and_spread_beside_the_paper(tmp_path, capsys):
    for seed, value in enumerate((0.5, 0.53)):
        write_metrics(tmp_path / f"table2_full-{seed}" / "evaluate" / "metrics.json", value, seed)
    write_metrics(tmp_path / "table2_full-0" / "evaluate" / "at_64" / "metrics.json", 0.25)
    assert ablations.main(["--workdir", str(tmp_path), "--tables-only"]) == 0
    printed = capsys.readouterr().out
    # Of 50 and 53 the mean is 51.5 and the sample deviation 3 / sqrt(2).
    line = next(line for line in printed.splitlines() if line.startswith("| Fusion + Filter + Seg + L_loc"))
    cells = [cell.strip() for cell in line.split("|")[2:]]
    assert cells[:2] == ["51.50 ± 2.12", "65.43"] and cells[4:6] == ["51.50 ± 2.12", "63.08"] and cells[8] == "2"
    assert "| trained at 96, judged at 64 | 25.00 | - |" in printed
    assert "51.50 ± 2.12" in (tmp_path / "tables.md").read_text(encoding="utf-8")


def test_runs_of_other_lengths_are_kept_apart(tmp_path):
    ablations.check_settings(tmp_path, {"epochs": 5})
    ablations.check_settings(tmp_path, {"epochs": 5})
    with pytest.raises(SystemExit, match="another --workdir"):
        ablations.check_settings(tmp_path, {"epochs": 6})


@pytest.mark.parametrize("wrong", [["--rows", "table9"], ["--steps", "0"], ["--minutes", "-1"], []])
def test_wrong_use_is_code_2(wrong, tmp_path, capsys):
    with pytest.raises(SystemExit) as error:
        ablations.main([*(["--workdir", str(tmp_path)] if wrong else []), *wrong])
    assert error.value.code == 2


def test_the_backbone_learns_what_each_cell_holds():
    source = type("Source", (), {"look": Look(kinds=("square", "ring"))})
    photos, shares = ablation_backbone.draw_batch(np.random.default_rng(0), source, 96, 20)
    assert (
        photos.shape == (20, 96, 96, 3) and shares["kind"].shape == (20, 12, 12, 9) and shares["color"].shape[-1] == 7
    )
    for values in shares.values():
        assert values.min() >= 0 and np.allclose(values.sum(-1), 1)
    assert shares["kind"][..., 2:8].max() == 0 and shares["kind"][..., :2].max() > 0.9
    np.testing.assert_allclose(shares["kind"][..., 8], shares["color"][..., 6], atol=1e-6)
    red = photos.reshape(20, 12, 8, 12, 8, 3).mean((2, 4))[shares["color"][..., 0] > 0.99]
    assert len(red) and np.all(red.argmax(-1) == 0)


def test_the_backbone_becomes_a_file_that_a_configuration_takes(tmp_path):
    from lts_keras.config.schema import ScenesSource
    from lts_keras.models.backbones import make_backbone

    lines = []
    path = tmp_path / "backbone.keras"
    ablation_backbone.train_backbone(
        ScenesSource(seed=3), path, num_photos=4, steps=2, batch_size=2, sizes=(32,), progress=lines.append
    )
    backbone = make_backbone(str(path), trainable="none")
    assert {name: spec.shape[-1] for name, spec in backbone.output.items()} == {"c3": 96, "c4": 192, "c5": 384}
    assert not backbone.trainable_variables and lines == ["drew 4 scenes for the backbone"]
    means = [weight for weight in backbone.weights if weight.name == "moving_mean"]
    assert max(float(np.abs(weight.numpy()).max()) for weight in means) > 0  # it has seen photos


def test_the_command_of_the_page_is_one_that_the_program_takes():
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^python benchmarks/ablations.py (.*)$", page, re.MULTILINE)
    args = ablations.parse_arguments(command.split())
    assert args.rows == list(ablation_rows.ROWS) and args.seeds == [0, 1, 2] and args.config == ablations.CONFIG
