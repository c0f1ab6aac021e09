"""Rows of an evaluation against `Predictor`, photo by photo, and against counts of their own."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from lts_keras.config.read import parse_config
from lts_keras.data.input.evaluation_dataset import evaluation_dataset, most_rows
from lts_keras.data.prepare.prepare import prepare
from lts_keras.data.text import Tokenizer
from lts_keras.evaluation.networks import ModelNetwork
from lts_keras.evaluation.rows import rows_and_facts
from tests.conftest import run_python
from tests.small_models import WORDS, photo_bytes, small_model
from tests.turned import flat_scene, turned_photo

MANY = 200
RECTANGLES = {"odd": (5, 7, 30, 31), "same": (0, 0, 12, 51), "turned": (10, 3, 40, 33), "crowded": (8, 8, 40, 30)}


def outline(x0, y0, x1, y1):
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """`(folder of prepared data, photo bytes by name)`: two of one odd size, one turned, one with 200 sentences."""
    root = tmp_path_factory.mktemp("rows")
    photos = {
        "odd.jpg": photo_bytes(51, 37, seed=1),
        "same.jpg": photo_bytes(51, 37, seed=2),
        "turned.png": turned_photo(flat_scene(40, 56), 6),
        "crowded.jpg": photo_bytes(48, 64, seed=4),
    }
    for name, content in photos.items():
        (root / name).write_bytes(content)
    lines = []
    for name in photos:
        stem = name.split(".")[0]
        texts = ["the left dog", "a zebra that nobody knows of, red"]
        if stem == "crowded":
            texts = [f"the {WORDS[number % 7 + 1]} number {number}" for number in range(MANY)]
        objects = [{"expressions": texts, "category": "dog", "polygons": outline(*RECTANGLES[stem])}]
        if stem == "odd":
            objects.append({"expressions": ["the blue man"], "no_target": True})
            objects.append({"expressions": ["red circle"], "category": "circle", "box": [1, 2, 20, 30]})
        lines.append({"image": name, "split": "val", "objects": objects})
    (root / "train.jpg").write_bytes(photo_bytes(40, 40, seed=9))
    target = {"expressions": ["the dog"], "polygons": outline(2, 2, 20, 20)}
    lines.append({"image": "train.jpg", "objects": [target]})
    (root / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = {"kind": "manifest", "name": "own", "file": str(root / "m.jsonl")}
    check = {"max_unknown_words": 1.0}
    return prepare(parse_config({"data": {"sources": [source], "check": check}}), root / "runs"), photos


@pytest.fixture(scope="module")
def judged(data):
    """`(model, rows with facts)`."""
    model = small_model()
    return model, list(rows_and_facts(ModelNetwork(model), data[0], ["val"]))


def photo_of(row, photos):
    height, width = row["segmentation"]["size"]
    sizes = {(51, 37): ("odd.jpg", "same.jpg"), (40, 56): ("turned.png",), (48, 64): ("crowded.jpg",)}
    (name,) = (name for name in sizes[height, width] if name in row["image_id"] or len(sizes[height, width]) == 1)
    return name, photos[name]


def test_answers_are_those_of_the_predictor(data, judged):
    (_, photos), (model, found) = data, judged
    by_photo = {}
    for row, _ in found:
        by_photo.setdefault(photo_of(row, photos), []).append(row)
    assert {name: len(rows) for (name, _), rows in by_photo.items()} == {
        "odd.jpg": 4,
        "same.jpg": 2,
        "turned.png": 2,
        "crowded.jpg": MANY,
    }
    predictor, filled = model.predictor(), []
    for (_, content), rows in by_photo.items():
        answers = predictor.predict_many(content, [row["expression"] for row in rows])
        for row, answer in zip(rows, answers, strict=True):
            mask = coco_mask.decode(row["segmentation"]) > 0
            assert mask.shape == answer.mask.shape
            # A pixel on the threshold may fall to either side in a batch of another size.
            assert np.count_nonzero(mask != answer.mask) <= 1
            assert row["score"] == pytest.approx(answer.score, abs=1e-4)
            assert row["presence"] == pytest.approx(answer.presence, abs=1e-4)
            assert tuple(row["point"]) == answer.point
            np.testing.assert_allclose(row["box"], answer.box, atol=1)
            filled.append(mask.mean())
    assert any(0.05 < share < 0.95 for share in filled)


def test_counts_are_those_of_the_drawn_rectangles(data, judged):
    for row, facts in judged[1]:
        mask = coco_mask.decode(row["segmentation"]) > 0
        truth = np.zeros_like(mask)
        if row["has_target"] and row["iou"] is not None:
            x0, y0, x1, y1 = RECTANGLES[photo_of(row, data[1])[0].split(".")[0]]
            truth[y0:y1, x0:x1] = True
        if row["iou"] is None:
            assert row["expression"] == "red circle" and row["intersection"] is row["union"] is facts.sweep is None
            assert row["area"] == pytest.approx(19 * 28 / mask.size)
            continue
        common, either = int((mask & truth).sum()), int((mask | truth).sum())
        assert (row["intersection"], row["union"]) == (common, either)
        assert row["iou"] == pytest.approx(common / either if either else 1.0)
        x, y = row["point"]
        assert row["prior_hit"] == (bool(truth[y, x]) if row["has_target"] else None)
        assert facts.truth_pixels == truth.sum() and facts.pixels == truth.size
        # The threshold of the model, 0.5, is one of the sweep's.
        np.testing.assert_array_equal(facts.sweep[:, 24], [common, either])
    absent = [row for row, _ in judged[1] if not row["has_target"]]
    assert [row["expression"] for row in absent] == ["the blue man"] and absent[0]["area"] == 0


def test_words_are_counted_before_the_sentence_is_cut(judged):
    (row,) = {row["expression"]: row for row, _ in judged[1] if "zebra" in row["expression"]}.values()
    # Seven words, six are read; the vocabulary has `red` alone.
    assert (row["num_words"], row["unknown_words"]) == (7, 6)
    assert not row["place_words"]
    assert all(row["place_words"] for row, _ in judged[1] if row["expression"] == "the left dog")


def test_no_element_has_more_rows_than_memory_allows(data):
    for size, most in ((416, 16), (64, 512), (2048, 1)):
        assert most_rows(size) == most
    dataset = evaluation_dataset(data[0], Tokenizer(WORDS, 6), splits=["val"], image_size=64, max_expressions=32)
    counts, expressions = [], []
    for batch in dataset:
        counts.append(len(batch["token_ids"]))
        expressions += batch["expression"].numpy().tolist()
        assert "image_bytes" not in batch
        # Each mask once, not once a sentence.
        assert len(batch["mask_png"]) < 8
    assert max(counts) == 32 and sum(counts) == len(expressions) == MANY + 8
    assert sum(text.decode().endswith(f"number {MANY - 1}") for text in expressions) == 1


TWO = """
import json, sys
import tensorflow as tf
part = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [part, part])
from lts_keras.evaluation.networks import ModelNetwork
from lts_keras.evaluation.rows import rows_and_facts
from tests.small_models import small_model

used = []
network = ModelNetwork(small_model(), num_devices=2)
forwards = list(network._forwards)
for number in range(2):
    network._forwards[number] = lambda *inputs, number=number: used.append(number) or forwards[number](*inputs)
rows = [row for row, _ in rows_and_facts(network, sys.argv[1], ["val"], batch_size=1)]
print(json.dumps({"rows": rows, "used": sorted(set(used))}))
"""


def test_two_devices_give_the_rows_of_one_in_the_same_order(data, judged):
    done = run_python("-c", TWO, str(data[0]))
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["used"] == [0, 1]
    alone = [row for row, _ in rows_and_facts(ModelNetwork(judged[0]), data[0], ["val"], batch_size=1)]
    assert len(alone) == len(found["rows"]) == MANY + 8
    for one, other in zip(alone, found["rows"], strict=True):
        assert (one["ref_id"], one["expression"]) == (other["ref_id"], other["expression"])
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)
        assert abs(coco_mask.area(one["segmentation"]) - coco_mask.area(other["segmentation"])) <= 1
