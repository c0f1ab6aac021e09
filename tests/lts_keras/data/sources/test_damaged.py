"""Files whose values are of the wrong kind: one clear line each, whatever the value and wherever it stands."""

import json
import pickle

import hypothesis
import pytest
from hypothesis import strategies as st

from lts_keras.config.schema import CocoSource, ManifestSource, ReferSource
from lts_keras.data.schema import DataError
from lts_keras.data.sources import open_source
from tests.lts_keras.data import data_trees

SECTIONS = {
    "refcoco/refs(unc).p": ReferSource(name="refcoco", dataset="refcoco", split_by="unc", photos="photos"),
    "refcoco/instances.json": ReferSource(name="refcoco", dataset="refcoco", split_by="unc", photos="photos"),
    "all.json": CocoSource(name="coco", instances="all.json", photos="photos"),
    "refs.json": CocoSource(name="coco", refs="refs.json", photos="photos"),
    "own.json": ManifestSource(name="own", file="own.json"),
}
STRANGE = (None, [], {}, -1, "", 1e308, float("inf"), float("nan"), "x", [1], True, {"a": 1}, 10**30, [[1, 2, 3]])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("damaged")
    data_trees.write_refer(root)
    content = data_trees.instances()
    (root / "all.json").write_text(json.dumps(content))
    refs = [{"ref_id": 1, "split": "val", "image_id": 1, "bbox": [1, 2, 3, 4], "sentences": ["it", {"sent": "it"}]}]
    (root / "refs.json").write_text(json.dumps({"images": content["images"], "refs": refs}))
    regions = [{"polygons": [[1, 1, 20, 1, 1, 20]]}, {"box": [1, 2, 9, 9]}, {"rle": content["annotations"][-1]}]
    regions[2]["rle"] = regions[2]["rle"]["segmentation"]
    objects = [{"expressions": ["it"], **region} for region in regions]
    (root / "own.json").write_text(json.dumps({"image": "photos/000000000004.jpg", "objects": objects}))
    return root


def places(value, path=()):
    """Paths of all values inside a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


@hypothesis.settings(max_examples=300)
@hypothesis.given(data=st.data(), name=st.sampled_from(sorted(SECTIONS)), strange=st.sampled_from(STRANGE))
def test_a_value_of_the_wrong_kind(root, data, name, strange):
    path = root / name
    original = path.read_bytes()
    load, dump = (pickle.loads, pickle.dumps) if path.suffix == ".p" else (json.loads, lambda v: json.dumps(v).encode())
    content = load(original)
    *way, last = data.draw(st.sampled_from(sorted(places(content), key=str)))
    inner = content
    for key in way:
        inner = inner[key]
    inner[last] = strange
    path.write_bytes(dump(content))
    try:
        source = open_source(SECTIONS[name], root)
        for entry in source.entries():
            source.fingerprint(entry.key)
            for item in source.read(entry.key).objects:
                assert isinstance(item.split, str)
                assert all(isinstance(text, str) for text in item.expressions)
    except DataError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 600
    finally:
        path.write_bytes(original)
