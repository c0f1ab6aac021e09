"""Findings as they come out of `lts prepare`: order, words, limits, and objects that add up."""

import contextlib
import json
import re

import pytest

from lts_keras.config.data_schema import CheckConfig
from lts_keras.data.checks.check import read_report
from lts_keras.data.checks.findings import KINDS, NOTES, STOPS, WARNS
from lts_keras.data.checks.statistics import OF_OBJECTS
from lts_keras.data.prepare.prepare import prepare
from lts_keras.data.schema import DataError
from tests.lts_keras.data import data_trees


def ref(number, bbox=(5, 5, 20, 20), image_id=1, sentences=("left cup",), split="train", **further):
    region = {} if "ann_id" in further else {"bbox": list(bbox)}
    return {"ref_id": number, "image_id": image_id, "split": split, "sentences": list(sentences), **region, **further}


def write(root, *refs):
    """Four photos and refs with boxes alone; returns the section of the source."""
    (root / "photos").mkdir(parents=True)
    images = []
    for key, (height, width) in data_trees.SIZES.items():
        (root / "photos" / f"{key}.jpg").write_bytes(data_trees.jpeg(key))
        images.append({"id": key, "file_name": f"{key}.jpg", "height": height, "width": width})
    (root / "refs.json").write_text(json.dumps({"images": images, "refs": refs}))
    return {"kind": "coco", "name": "own", "photos": "photos", "refs": "refs.json"}


def check(root, section, workdir, **limits):
    with contextlib.suppress(DataError):
        prepare(data_trees.config(root, section, **limits), workdir, check_only=True)
    report = read_report(workdir / "data")
    return report, {finding["kind"]: finding for finding in report["findings"]}


def test_every_kind_says_what_it_means_and_what_to_do():
    limits = CheckConfig.model_fields
    for kind, about in KINDS.items():
        assert about.title and about.meaning.endswith(".") and about.advice.endswith("."), kind
        assert about.level in (WARNS, NOTES)
        assert about.limit in ("", None) or about.limit in limits, kind
        if about.limit:
            assert f"data.check.{about.limit}" in about.advice, kind
    # No limit is without the finding that it stops.
    assert {about.limit for about in KINDS.values()} - {"", None} == set(limits)
    assert set(OF_OBJECTS) < set(KINDS)


def test_a_box_without_area_alone_leaves_nothing_and_the_error_says_which(tmp_path, capsys):
    section = write(tmp_path, ref(1, (10, 10, 0, 12)))
    with pytest.raises(
        DataError, match="no photo with a usable object is left; box without area: .*ref 1 of own/train"
    ):
        prepare(data_trees.config(tmp_path, section), tmp_path / "work")
    assert not (tmp_path / "work/data/manifest.json").exists()
    printed = capsys.readouterr().out
    assert "prepare: boxes without area: 1; first: " in printed
    report = read_report(tmp_path / "work/data")
    assert report["objects"] == {"read": 1, "kept": 0, "left_out": 1}
    page = (tmp_path / "work/data/check/report.html").read_text()
    assert "Boxes without area" in page and page.count("data:image/jpeg;base64,") == 1


def test_objects_add_up_and_say_why_they_are_left_out(tmp_path, capsys):
    refs = ref(1), ref(2, (10, 10, 0, 12)), ref(3, sentences=("  ",)), ref(4, sentences=("?!", "right cup"))
    section = write(tmp_path, *refs, ref(5, image_id=2), ref(6, image_id=2, split="val"), ref(7, image_id=3))
    (tmp_path / "photos/3.jpg").write_bytes(b"")
    section |= {"rename_splits": {"val": "drop"}}
    report, findings = check(tmp_path, section, tmp_path / "work", max_unreadable_photos=1.0)
    assert report["objects"] == {"read": 7, "kept": 3, "left_out": 4}
    rows = {row["reason"]: (row["count"], row["meant"]) for row in report["left_out"]}
    assert rows == {
        "box without area": (1, False),
        "no sentence": (1, False),
        "unreadable photo": (1, False),
        "dropped split": (1, True),
    }
    assert (findings["left_out"]["level"], findings["left_out"]["count"]) == (WARNS, 4)
    line = "left out: 4 objects: 1 box without area, 1 no sentence, 1 unreadable photo, 1 dropped split; first: "
    assert f"prepare: {line}" in capsys.readouterr().out
    assert "unaccounted" not in findings
    assert report["slices"]["own/train"]["empty_expressions"] == 2


@pytest.mark.parametrize(("limit", "stops"), [(0.4, 1), (0.5, 0)])
def test_max_left_out_stops_and_does_not_count_what_is_meant(tmp_path, limit, stops):
    dropped = [ref(number, split="val") for number in range(10, 12)]
    section = write(tmp_path, ref(1), ref(2, (10, 10, 0, 12)), ref(3, sentences=("...",)), *dropped, ref(4, image_id=2))
    section |= {"rename_splits": {"val": "drop"}}
    # Two of six are left out for reasons that nobody asked for.
    report, findings = check(tmp_path, section, tmp_path / "work", max_left_out=limit * 2 / 3)
    assert len(report["stops"]) == stops
    assert findings["left_out"]["level"] == (STOPS if stops else WARNS)
    if stops:
        assert report["stops"][0].startswith("left out: 2 of 6 objects, more than data.check.max_left_out: 0.266667: ")
        assert "first: refs.json:1: ref " in report["stops"][0]


def test_what_is_meant_alone_is_a_note(tmp_path):
    section = write(tmp_path, ref(1), ref(2, split="val")) | {"rename_splits": {"val": "drop"}}
    report, findings = check(tmp_path, section, tmp_path / "work", max_left_out=0.0)
    assert report["stops"] == []
    assert findings["left_out"]["level"] == NOTES


def test_findings_that_stop_come_first_and_stand_once(tmp_path):
    refs = ref(1, (0, 0, 90, 90)), ref(1, image_id=2), ref(2, image_id=3, split="val", sentences=("zebra",))
    section = write(tmp_path, *refs)
    report, findings = check(tmp_path, section, tmp_path / "work", max_unknown_words=0.25)
    assert list(findings) == ["duplicate_ref_ids", "unknown_words", "boxes_outside"]
    assert [finding["level"] for finding in report["findings"]] == [STOPS, STOPS, WARNS]
    assert report["stops"] == [
        "a ref id stands twice in one data set: own: 1",
        "own/val: 100.0% of the words are not in train (data.check.max_unknown_words: 0.25)",
    ]
    (warning,) = report["warnings"]
    assert re.match(
        "boxes outside: 1; first: .*: ref 1 of own/train reaches out of its 60 x 40 photo: 0, 0, 90, 90", warning
    )
    # Both objects of the id are shown.
    assert [example["photo_id"] for example in findings["duplicate_ref_ids"]["examples"]] == [
        "refs.json:1",
        "refs.json:2",
    ]
    (example,) = findings["unknown_words"]["examples"]
    assert (example["photo_id"], example["ref_id"], example["slice"]) == ("refs.json:3", "2", "own/val")
    assert "not in train: zebra, in 'zebra'" in example["message"]


def test_examples_are_of_different_photos_where_there_are_some(tmp_path):
    long = ("one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen " * 2,)
    refs = [ref(number, sentences=long, image_id=1 if number < 4 else number - 2) for number in range(1, 7)]
    report, findings = check(tmp_path, write(tmp_path, *refs), tmp_path / "work")
    finding = findings["too_long_expressions"]
    assert finding["count"] == 6 and finding["lines"] == ["own/train: 6"]
    assert [example["photo_id"] for example in finding["examples"]] == ["refs.json:1", "refs.json:2", "refs.json:3"]


def test_no_kind_crowds_out_the_messages_of_another(tmp_path):
    refs = [ref(number, (0, 0, 90, 90), sentences=(f"cup {number}",)) for number in range(600)]
    report, _ = check(tmp_path, write(tmp_path, *refs, ref(700, (1, 1, 0, 0), 4)), tmp_path / "work")
    kinds = [problem["kind"] for problem in report["problems"]]
    assert kinds.count("boxes_outside") == 50 and kinds.count("boxes_without_area") == 1
    assert report["slices"]["own/train"]["boxes_outside"] == 600


def test_pictures_of_findings_stand_before_the_tables(tmp_path):
    section = write(tmp_path, ref(1, (0, 0, 90, 90), sentences=("<b>left</b> cup",)), ref(2, image_id=2))
    prepare(data_trees.config(tmp_path, section), tmp_path / "work")
    page = (tmp_path / "work/data/check/report.html").read_text()
    card = page[page.index('id="boxes_outside"') : page.index('id="objects"')]
    assert card.count("data:image/jpeg;base64,") == 1
    assert "&lt;b&gt;left&lt;/b&gt; cup" in card and "<b>What to do:</b>" in card
    assert page.index("Objects: 2 read = 2 kept + 0 left out") < page.index("Data sets and splits")


def test_objects_of_leaks_are_counted_whether_the_photo_has_others_or_not(tmp_path):
    train = [ref(1), ref(2, image_id=2), ref(3, image_id=2)]
    val = [ref(4, image_id=1, split="val"), ref(5, image_id=3, split="val")]
    section = write(tmp_path, *train, *val)
    # Photo 2 of train is photo 3 of val under another name; photo 1 is in both.
    (tmp_path / "photos/3.jpg").write_bytes((tmp_path / "photos/2.jpg").read_bytes())
    content = json.loads((tmp_path / "refs.json").read_text())
    content["images"][2] |= {"height": 50, "width": 50}
    (tmp_path / "refs.json").write_text(json.dumps(content))
    report, findings = check(tmp_path, section, tmp_path / "work", on_leak="drop")
    assert report["objects"] == {"read": 5, "kept": 2, "left_out": 3}
    assert sum(row["count"] for row in report["left_out"] if row["reason"] == "leak") == 3
    assert "unaccounted" not in findings and findings["leaks"]["count"] == 2
    page = (tmp_path / "work/data/check/report.html").read_text()
    card = page[page.index('id="leaks"') : page.index("</section>", page.index('id="leaks"'))]
    assert card.count("data:image/jpeg;base64,") == 2


def test_every_line_is_one_line_whatever_the_names(tmp_path, capsys):
    odd = "a\n\x1b[31m\u202e"
    last = ref(2, image_id=3, split="val", sentences=("zebra\u0007" * 300,))
    section = write(tmp_path, ref(odd, (0, 0, 90, 90)), ref(odd), last)
    report, _ = check(tmp_path, section, tmp_path / "work", max_unknown_words=0.5)
    lines = [*report["stops"], *report["warnings"]]
    assert len(report["stops"]) == 2 and len(lines) == 5
    assert all(line.isprintable() and len(line) <= 600 for line in lines)
    assert "\x1b" not in capsys.readouterr().out
    findings = report["findings"]
    assert all(example["message"].isprintable() for finding in findings for example in finding["examples"])
