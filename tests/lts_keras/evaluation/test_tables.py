"""Runs beside the paper's numbers: which row a run is, seeds together, nothing averaged that differs in more."""

import csv
import json
import re

import pytest

from lts_keras.commands.cli import main
from lts_keras.config.errors import ConfigError
from lts_keras.config.paper_rows import PAPER_ROWS
from lts_keras.config.read import parse_config
from lts_keras.evaluation.paper_scores import PAPER_TABLES, SAME_MODEL
from lts_keras.evaluation.table_runs import differing_keys, read_runs
from lts_keras.evaluation.tables import make_sheets
from tests.conftest import ROOT


def write(folder, variant, means, *overrides, size=None, digest="d", kind="preset", threshold=0.25):
    """A metrics.json with a `mean_iou` for each slice, an `overall_iou` of 0.1 more and precisions of 0.5 to 0.9."""
    values = {"model": {"variant": variant}} if variant else {}
    config = parse_config(values, overrides).model_dump(mode="json")
    slices = {}
    for name, mean in means.items():
        numbers = {"mean_iou": mean, "overall_iou": mean + 0.1}
        numbers |= {f"precision_at_{level}": (100 - level) / 100 for level in (50, 60, 70, 80, 90)}
        slices[name] = {metric: {"value": value, "low": 0, "high": 1} for metric, value in numbers.items()}
        slices[name] |= {"num_expressions": 10, "num_refs": 5, "num_photos": 4}
    content = {
        "slices": slices,
        "threshold": threshold,
        "presence": None,
        "model": {"kind": kind, "precision": "float32", "image_size": size or config["model"]["image_size"]},
        "config": config,
        "data_digest": digest,
    }
    folder = folder if folder.name in ("coarse", "at_320") else folder / "evaluate"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(content))


def table(tmp_path, *arguments):
    """The command's CSV as a list of dicts."""
    output = tmp_path / "table.csv"
    assert main(["table", *map(str, arguments), "--output", str(output)]) == 0
    return list(csv.DictReader(output.read_text().splitlines()))


def ours(rows, number, label, column="RefCOCO val", metric="mean_iou"):
    return [
        row
        for row in rows
        if row["source"].startswith("ours") and row["table"] == str(number) and row["row"].endswith(label)
        if (row["column"], row["metric"]) == (column, metric)
    ]


def test_three_seeds_are_one_line_with_mean_and_spread_worked_out_by_hand(tmp_path):
    for seed, mean in enumerate((0.60, 0.62, 0.67)):
        write(tmp_path / f"w{seed}", "refcoco", {"refcoco/val": mean}, f"seed={seed}")
    (row,) = ours(table(tmp_path, *tmp_path.glob("w*")), 5, "n: 1")
    # Mean 63; squared distances 9 + 1 + 16 = 26, over n - 1 = 2: 13.
    assert float(row["value"]) == pytest.approx(63) and float(row["deviation"]) == pytest.approx(13**0.5, abs=1e-4)
    assert (float(row["smallest"]), float(row["largest"])) == (60, 67)
    assert "n = 3" in row["source"] and len(row["runs"].split()) == 3


def test_runs_that_differ_in_more_than_the_seed_are_two_lines_and_it_says_why(tmp_path):
    write(tmp_path / "a", "refcoco", {"refcoco/val": 0.6})
    write(tmp_path / "b", "refcoco", {"refcoco/val": 0.7}, "seed=1", "train.epochs=10")
    write(tmp_path / "c", "refcoco", {"refcoco/val": 0.8}, "seed=2", digest="other")
    runs = [run for name in "abc" for run in read_runs(tmp_path / name)]
    sheets, _ = make_sheets(runs, [5])
    lines = [line for line in sheets[0].lines if line.runs and line.metric == "mean_iou"]
    assert [line.cells[0][0] for line in lines] == pytest.approx([60, 70, 80])
    notes = " ".join(sheets[0].notes)
    assert "train.epochs 45 against 10" in notes and "other data" in notes
    assert "train.epochs 10 (paper 45)" in notes


def test_the_same_seed_twice_does_not_count_as_two(tmp_path):
    for name in "ab":
        write(tmp_path / name, "refcoco", {"refcoco/val": 0.6})
    sheets, _ = make_sheets([run for name in "ab" for run in read_runs(tmp_path / name)], [5])
    assert any("n = 1" in line.source for line in sheets[0].lines) and "same seed (0)" in sheets[0].notes[0]


def test_the_location_loss_tells_the_last_two_rows_of_table_2_apart(tmp_path):
    write(tmp_path / "with", "table2_full", {"refcoco/testA": 0.7})
    write(
        tmp_path / "without",
        "table2_fusion_filter_segmentation",
        {"refcoco/testA": 0.6},
        "train.location_weight=0",
    )
    rows = table(tmp_path, tmp_path / "with", tmp_path / "without")
    (full,), (without,) = (ours(rows, 2, f"Location loss: {text}", "testA", "mean_iou") for text in ("yes", ""))
    assert (float(full["value"]), float(without["value"])) == (70, 60)
    assert not ours(rows, 5, "n: 2")
    assert float(ours(rows, 2, "Location loss: yes", "testA", "prec@0.6")[0]["value"]) == pytest.approx(40)


def test_one_model_judged_at_another_size_stands_beside_the_one_trained_at_it(tmp_path):
    write(tmp_path / "base", "refcoco", {"refcoco/val": 0.65})
    write(tmp_path / "base/evaluate/at_320", "refcoco", {"refcoco/val": 0.5}, size=320)
    write(tmp_path / "small", "table6_320", {"refcoco/val": 0.61})
    found = ours(table(tmp_path, tmp_path / "base", tmp_path / "small"), 6, "320 x 320")
    assert {row["source"].split(", n")[0]: float(row["value"]) for row in found} == {
        "ours, trained and judged at it": 61,
        "ours, trained at 416, judged at it": 50,
    }
    # Nowhere else does the model judged at another size count.
    (row,) = ours(table(tmp_path, tmp_path / "base"), 5, "n: 1")
    assert float(row["value"]) == 65 and "n = 1" in row["source"]


def test_coarse_masks_are_the_row_without_the_refiner(tmp_path):
    write(tmp_path / "r", "table3_refiner", {"refcoco/val": 0.6}, size=96)
    write(tmp_path / "r/evaluate/coarse", "table3_refiner", {"refcoco/val": 0.5}, kind="features", size=96)
    rows = table(tmp_path, tmp_path / "r")
    assert [float(row["value"]) for row in ours(rows, 3, "CMPC")] == [50]
    assert [float(row["value"]) for row in ours(rows, 3, "CMPC+Seg")] == [60]


def test_other_data_has_a_table_of_its_own_and_a_row_may_be_given(tmp_path):
    write(tmp_path / "x", None, {"scenes/val": 0.4, "scenes/unseen": 0.3}, "model.num_filters=2")
    write(tmp_path / "y", None, {"scenes/val": 0.5, "scenes/unseen": 0.3}, "model.num_filters=2", "seed=1")
    row = f"table5_filters_2={tmp_path / 'x'},{tmp_path / 'y'}"
    output = tmp_path / "table.md"
    assert main(["table", str(tmp_path / "x"), "--row", row, "--output", str(output)]) == 0
    text = output.read_text()
    (sheet,) = re.findall(r"## Table 5\.[^\n]*other data, scenes.*?(?=\n## |\Z)", text, re.S)
    assert "| LTS | 2 | ours, n = 2, scenes | mean\\_iou | 45.00 ± 7.07 (40.00 to 50.00) | 30.00" in sheet
    assert "| LTS | 2 | paper, RefCOCO | IoU | 66.04 | - |" in sheet
    assert "not trained" in re.findall(r"## Table 5\.[^\n]*RefCOCO\n.*?(?=\n## )", text, re.S)[0]


def test_a_run_of_no_row_is_named(tmp_path, capsys):
    write(tmp_path / "g", "refcocog_google", {"refcocog_google/val": 0.4})
    table(tmp_path, tmp_path / "g")
    assert "in no row (model.variant: refcocog_google)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no evaluation here"),
        ('{"slices": {', "cut or damaged"),
        ("[]", "slices is missing"),
        ('{"slices": {}, "threshold": 0.5}', "model is missing"),
        (
            '{"slices": {"d/val": {"mean_iou": {"value": "x"}}}, "threshold": 1, "model": {"image_size": 1}, "config": '
            '{}, "data_digest": ""}',
            "damaged",
        ),
    ],
)
def test_a_missing_old_or_damaged_evaluation_is_one_line(tmp_path, capsys, content, said):
    (tmp_path / "w/evaluate").mkdir(parents=True)
    if content:
        (tmp_path / "w/evaluate/metrics.json").write_text(content)
    assert main(["table", str(tmp_path / "w"), "--output", str(tmp_path / "t.md")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line and "metrics.json" in line and not (tmp_path / "t.md").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--output", "t.txt"], ".md, .csv, .html"),
        (["--output", "t.md"], "give a work directory"),
        (["--output", "t.md", "--row", "table9=x"], "table9"),
        (["--output", "t.md", "--row", "refcoco"], "NAME=WORKDIR"),
        (["--output", "t.md", "--tables", "8", "x"], "tables 1 to 7"),
    ],
)
def test_wrong_use_is_one_line(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert main(["table", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_the_page_escapes_what_it_shows(tmp_path):
    write(tmp_path / "a", "refcoco", {"d<b>/val": 0.6})
    assert main(["table", str(tmp_path / "a"), "--output", str(tmp_path / "t.html")]) == 0
    text = (tmp_path / "t.html").read_text()
    assert "d&lt;b&gt;" in text and "<b>/val" not in text and "d<b>" not in text


def test_the_paper_s_scores_are_those_in_the_heads_of_the_configurations():
    """An independent transcription: the head comment of each configuration names its row's scores."""
    known = {}
    for paper in PAPER_TABLES:
        for row in paper.rows:
            for variant in row.variants:
                for (dataset, split), scores in zip(paper.columns, row.scores, strict=True):
                    known.setdefault((paper.number, variant, row.location_loss, dataset, split), scores[0])
    checked = 0
    for path in sorted((ROOT / "configs").glob("table[24567]*.yaml")):
        head = path.read_text().partition("\nname:")[0]
        number = int(path.stem[5])
        score = re.search(r"The paper's score[^:]*: (.*?)\.\n", head)[1]
        variant = SAME_MODEL.get(path.stem, path.stem)
        dataset = path.stem[path.stem.index("refcoco") :] if number in (4, 7) else "refcoco"
        loss = path.stem != "table2_fusion_filter_segmentation"
        for split, value in re.findall(r"(val|testA|testB) (\d\d\.\d\d)", score):
            found = [known.get((number, variant, flag, dataset, split)) for flag in (loss, None)]
            assert float(value) in found, f"{path.name}: {split} {value}, here {found}"
            checked += 1
    assert checked > 40


def test_every_row_of_ours_has_a_variant_that_exists_and_every_variant_a_row():
    named = {variant for paper in PAPER_TABLES for row in paper.rows for variant in row.variants}
    assert named <= PAPER_ROWS.keys()
    assert PAPER_ROWS.keys() - named - SAME_MODEL.keys() == {"refcocog_google"}
    for name, same in SAME_MODEL.items():
        assert parse_config({"model": {"variant": name}}).model.model_copy(update={"variant": None}) == parse_config(
            {"model": {"variant": same}}
        ).model.model_copy(update={"variant": None})


def test_seeds_folders_and_batches_of_the_evaluation_are_no_difference():
    one = parse_config({}, ["seed=1", "name=a", "evaluate.batch_size=4"]).model_dump(mode="json")
    other = parse_config({}, ["seed=2", "train.learning_rate=0.5"]).model_dump(mode="json")
    assert differing_keys(one, other) == {"train.learning_rate": (0.001, 0.5)}


def test_an_unknown_row_is_refused_by_the_reader(tmp_path):
    with pytest.raises(ConfigError, match="no row of the paper"):
        read_runs(tmp_path, "table5_filters_9")
