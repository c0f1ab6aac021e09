import json

from tests.lts_keras.data import data_trees
from tests.lts_keras.data.prepared import objects


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
