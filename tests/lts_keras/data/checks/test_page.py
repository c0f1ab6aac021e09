import json

import pytest

from lts_keras.data.prepare.prepare import prepare
from lts_keras.data.schema import DataError
from tests.lts_keras.data import data_trees
from tests.lts_keras.data.prepared import objects

REFUSED = ("size_mismatches", "unreadable_photos")


def test_classes_of_any_name_stand_on_the_page(tmp_path):
    plain = ["杯", "$^$", "\U0001f600", "_x", "a$b$c"]
    names = [*plain, "x" * 5000, "a\0b\x1b", "a\nb", "</svg><script>"]
    (tmp_path / "a.jpg").write_bytes(data_trees.jpeg(1))
    items = [{"expressions": [f"it {at}"], "box": [1, 1, 9, 9], "category": name} for at, name in enumerate(names)]
    (tmp_path / "own.jsonl").write_text(json.dumps({"image": "a.jpg", "objects": items}))
    values = {"data": {"sources": [{"kind": "manifest", "name": "own", "file": "own.jsonl"}]}}
    found, report = objects(values, tmp_path)
    assert [one["category"] for one in found] == names
    assert report["slices"]["own/train"]["classes"] == dict.fromkeys(names, 1)
    page = (tmp_path / "runs/data/check/report.html").read_text()
    assert "</svg><script>" not in page
    for name in plain:
        assert f">{name}</text>" in page


def test_a_photo_of_another_size_is_shown_and_one_that_cannot_be_read_is_named(tmp_path):
    section = data_trees.write_refer(tmp_path / "tree")
    photos = tmp_path / "tree/photos"
    (photos / "000000000001.jpg").write_bytes(data_trees.jpeg(2))
    (photos / "000000000003.jpg").write_bytes(b"no photo")
    with pytest.raises(DataError, match="unreadable photos: 1 of 4"):
        prepare(data_trees.config(tmp_path / "tree", section), tmp_path / "work")
    page = (tmp_path / "work/data/check/report.html").read_text()
    cards = {kind: page[page.index(f'id="{kind}"') :].split("</section>")[0] for kind in REFUSED}
    assert [card.count("data:image/jpeg;base64,") for card in cards.values()] == [1, 0]
    assert "the annotations are for 60 x 40 pixels. Received: 50 x 50" in cards["size_mismatches"]
    assert "000000000003.jpg: not a readable JPEG or PNG" in cards["unreadable_photos"]
