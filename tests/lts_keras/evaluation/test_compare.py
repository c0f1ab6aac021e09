import json
import random
import re
import shutil

import numpy as np
import pytest

from lts_keras.commands.cli import main
from lts_keras.config.errors import ConfigError
from lts_keras.data.prepare.records import data_digest
from lts_keras.evaluation.compare import compare, count_intervals, most_changed, pair_rows
from lts_keras.evaluation.compare_page import draw_changes, format_comparison
from lts_keras.evaluation.stored import read_evaluation
from tests.lts_keras.evaluation.conftest import answers
from tests.lts_keras.evaluation.drawn import drawn_rows, write_evaluation


def masked(row, intersection, union=1000):
    """The same expression with another answer."""
    return row | {"intersection": intersection, "union": union, "iou": intersection / union, "has_target": True}


def drawn_pair(shift, count=210):
    """Rows of two models; the second has `shift` of 1,000 pixels more in every answer, and another order."""
    generator = np.random.default_rng(5)
    rows = [row | {"area": 0.1} for row in drawn_rows(count, photos=30)]
    rows = [masked(row, int(inside)) for row, inside in zip(rows, generator.integers(0, 900, count), strict=True)]
    others = [masked(row, row["intersection"] + shift) for row in rows]
    random.Random(2).shuffle(others)
    return rows, others


@pytest.fixture
def stored(tmp_path):
    """A function that writes rows as the evaluation of a work directory and reads them back."""

    def write(name, rows, **metrics):
        return read_evaluation(write_evaluation(tmp_path / name / "evaluate", rows, samples=2, **metrics).parent)

    return write


def test_a_shift_of_every_answer_is_an_interval_without_width(stored):
    rows, others = drawn_pair(100)
    result, pairs = compare(stored("a", rows), stored("b", others), samples=50)
    found = result["slices"]["coco/val"]["mean_iou"]
    # Every pair differs by 0.1; rows that are paired in their order, or by words alone, spread around it.
    assert found["difference"] == pytest.approx(0.1) and (found["low"], found["high"]) == pytest.approx((0.1, 0.1))
    assert found["second"] - found["first"] == pytest.approx(0.1) and found["better"] == 1
    assert len(pairs) == len(rows) and all(one["expression"] == other["expression"] for one, other in pairs)
    part = result["parts"]["coco/val"]["place words"]["no"]
    assert part["judged"] and part["mean_iou"]["low"] == pytest.approx(0.1)
    reverse, _ = compare(stored("b", others), stored("a", rows), samples=50)
    assert reverse["slices"]["coco/val"]["mean_iou"]["difference"] == pytest.approx(-0.1)
    assert reverse["slices"]["coco/val"]["mean_iou"]["better"] == 0


def test_the_interval_of_two_photos_is_what_their_worlds_can_be(stored):
    # One photo of 10 gains 0.2 in its one expression; drawn k times of 10, a world's difference is 0.2 k / 10.
    rows = [masked(row, 500) for row in drawn_rows(10, photos=10)]
    others = [masked(rows[0], 700), *rows[1:]]
    result, _ = compare(stored("a", rows), stored("b", others), samples=2000, min_slice_size=1)
    found = result["slices"]["coco/val"]["mean_iou"]
    assert found["difference"] == pytest.approx(0.02)
    # It is left out of 0.9 ** 10 of the worlds, which are equal and count half.
    assert found["better"] == pytest.approx(1 - 0.9**10 / 2, abs=0.03)
    # Student's t of nine degrees of freedom, 2.262, times the standard error of 0.02: hardly a world lies further away.
    assert found["low"] == pytest.approx(0.02 - 0.04524, abs=1e-4)
    assert found["high"] == pytest.approx(0.02 + 0.04524, abs=1e-4)


def test_rows_of_the_same_words_are_told_apart_by_object_photo_split_and_data_set():
    (row,) = drawn_rows(1)
    for key in ("ref_id", "image_id", "split", "dataset", "expression"):
        assert pair_rows([row], [row | {key: "other"}]) == []
        pairs = pair_rows([row, row | {key: "other"}], [row | {key: "other", "score": 2}, row | {"score": 1}])
        assert [other["score"] for _, other in pairs] == [1, 2]


def test_the_same_words_twice_of_one_object_are_two_expressions():
    (row,) = drawn_rows(1)
    pairs = pair_rows([row, row], [row | {"score": 1}, row | {"score": 2}, row | {"score": 3}])
    assert [other["score"] for _, other in pairs] == [1, 2]


def test_other_data_is_refused_unless_what_is_common_is_asked_for(stored):
    rows, others = drawn_pair(50)
    first, second = stored("a", rows[:100]), stored("b", others, data_digest="e" * 64)
    with pytest.raises(ConfigError, match=r"b.evaluate: judged on other data .*eeee.* than .*--common compares"):
        compare(first, second)
    result, _ = compare(first, second, common=True, samples=5)
    assert result["num_expressions"] == 100 and result["left_out"] == [0, len(others) - 100]
    assert f"0 of a, {len(others) - 100} of b" in format_comparison("b", "a", result)
    with pytest.raises(ConfigError, match=r"b.evaluate: no expression in common with .*a.evaluate"):
        compare(stored("a", rows[:5]), stored("b", drawn_rows(5, dataset="else")), common=True)


def test_parts_of_few_expressions_are_counted_and_not_judged(stored):
    rows, others = drawn_pair(50)
    first = stored("a", [row | {"rivals": 0 if number < 29 else 1} for number, row in enumerate(rows)])
    result, _ = compare(first, stored("b", others), samples=5, min_slice_size=30)
    parts = result["parts"]["coco/val"]["rivals"]
    assert parts["0"] == {"num_expressions": 29, "num_photos": 29, "judged": False}
    assert parts["1"]["judged"] and "mean_iou" in parts["1"]
    assert "rivals: 0" in format_comparison("b", "a", result)


def test_groups_of_the_baseline_are_compared_too(stored):
    rows = drawn_rows(80, slices=("coco/val", "refer/val"))
    settings = {"evaluate": {"groups": {"both": ["coco", "refer"]}}}
    result, _ = compare(stored("a", rows, config=settings), stored("b", rows), samples=5)
    assert {name: one["num_expressions"] for name, one in result["slices"].items()} == {
        "both": 80,
        "coco/val": 40,
        "refer/val": 40,
    }
    assert "n_acc" in result["slices"]["both"], "every seventh expression has no target"


def test_objects_with_boxes_alone_are_compared_by_localization(stored):
    boxes = {"iou": None, "union": None, "intersection": None, "has_target": True}
    rows = [row | boxes | {"prior_hit": number < 20} for number, row in enumerate(drawn_rows(40))]
    others = [row | {"prior_hit": True} for row in rows]
    result, pairs = compare(stored("a", rows), stored("b", others), samples=5)
    told = format_comparison("b", "a", result).splitlines()
    assert "mean_iou" not in result["slices"]["coco/val"]
    assert re.match(r"coco/val +localization +1\.000 +0\.500 +\+0\.500 ", told[2])
    assert most_changed(pairs, 3) == {"gains": [], "losses": []}


def test_intervals_are_counted_by_hand():
    cells = [(0.1, 0.2), (-0.1, 0.2), (-0.3, -0.1), (0.0, 0.3), (0.0, 0.0)]
    values = {"mean_iou": dict(zip(("low", "high"), cells[0], strict=True)), "num_expressions": 3}
    parts = {str(place): {"overall_iou": {"low": low, "high": high}} for place, (low, high) in enumerate(cells[1:])}
    found = count_intervals({"slices": {"a": values}, "parts": {"a": {"rivals": parts}}})
    assert found == {"count": 4, "exclude_zero": 2, "by_chance": pytest.approx(0.2)}


def test_the_photos_that_changed_most_come_first():
    def pair(photo, before, after):
        return {"image_id": photo, "iou": before}, {"image_id": photo, "iou": after}

    pairs = [
        pair("up", 0.1, 0.9),
        pair("up", 0.5, 0.3),
        pair("more", 0.2, 0.6),
        pair("down", 0.3, 0.4),
        pair("down", 0.9, 0.1),
        pair("same", 0.5, 0.5),
        pair("box", None, None),
    ]
    found = most_changed(pairs, 5)
    assert [(one["image_id"], round(one["change"], 6), one["num_expressions"]) for one in found["gains"]] == [
        ("more", 0.4, 1),
        ("up", 0.3, 2),
    ]
    assert found["gains"][1]["rows"] == pairs[0], "the expression that gained, not the one that lost"
    assert [one["image_id"] for one in found["losses"]] == ["down"] and found["losses"][0]["rows"] == pairs[4]
    assert [len(group) for group in most_changed(pairs, 1).values()] == [1, 1]


@pytest.fixture
def workdirs(evaluated, tmp_path):
    """Two work directories of one prepared data set with real masks, whose answers differ."""
    _, workdir = evaluated
    digest = data_digest(workdir / "data")
    for name, shift in (("before", 0), ("after", 1)):
        write_evaluation(tmp_path / name / "evaluate", answers(workdir, shift), data_digest=digest)
        (tmp_path / name / "data").symlink_to(workdir / "data")
    return tmp_path / "before", tmp_path / "after"


def test_the_command_writes_numbers_and_a_page_with_pictures(workdirs, capsys):
    before, after = workdirs
    assert main(["compare", str(before), str(after)]) == 0
    told = capsys.readouterr().out
    folder = after / "compare/before"
    assert "after against before" in told and f"comparison: {folder / 'compare.html'}" in told
    assert "intervals exclude zero" in told and "may be chance" in told
    content = json.loads((folder / "compare.json").read_text())
    after_slices = read_evaluation(after).metrics["slices"]
    found = content["comparisons"]["after"]["slices"]["scenes/val"]["mean_iou"]
    assert content["baseline"] == "before" and found["second"] == pytest.approx(
        after_slices["scenes/val"]["mean_iou"]["value"]
    )
    text = (folder / "compare.html").read_text()
    cards = content["comparisons"]["after"]["changed"]
    assert text.count("<article>") == sum(map(len, cards.values())) > 1
    assert text.count("<img") == 4 * text.count("<article>"), "photo, truth and both answers"
    assert re.findall(r"<figcaption>(\w+)<", text)[:4] == ["photo", "truth", "before", "after"]
    assert "<script" not in text and "&amp; &lt;script&gt;" in text and not re.findall(r'(?:src|href)="(?!data:)', text)


def test_photos_that_are_gone_are_said(workdirs):
    rows, others = (read_evaluation(path).rows for path in workdirs)
    changes = draw_changes(pair_rows(rows, others), [workdirs[0] / "nothing", workdirs[1] / "data"], 1)
    assert [len(one["pictures"]) for group in changes.values() for one in group] == [4, 4]
    for path in workdirs:
        (path / "data").unlink()
    assert main(["compare", *map(str, workdirs)]) == 0
    text = (workdirs[1] / "compare/before/compare.html").read_text()
    assert "<img" not in text and "The photo is not in the prepared data any more." in text


def test_three_models_and_an_evaluation_elsewhere_go_on_one_page(workdirs, tmp_path):
    before, after = workdirs
    shutil.copytree(after / "evaluate", before / "evaluate/at_320")
    output = tmp_path / "pages"
    assert main(["compare", str(before), str(after), str(before / "evaluate/at_320"), "--output", str(output)]) == 0
    content = json.loads((output / "compare.json").read_text())
    assert list(content["comparisons"]) == ["after", "at_320"]
    assert content["comparisons"]["after"]["slices"] == content["comparisons"]["at_320"]["slices"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: [folder], "give two work directories or more"),
        (lambda folder: [folder, folder], "stands there twice"),
        (lambda folder: [folder, folder.parent / "nowhere"], "nowhere/evaluate/metrics.json: no evaluation here"),
    ],
)
def test_wrong_use_is_one_line(change, message, tmp_path, capsys):
    write_evaluation(tmp_path / "a/evaluate", drawn_rows(3))
    assert main(["compare", *map(str, change(tmp_path / "a"))]) == 2
    error = capsys.readouterr().err
    assert error.startswith("lts compare: ") and message in error and error.count("\n") == 1
