"""The evaluator's files, held against each other and against the records."""

import json

import numpy as np
import pytest
import tensorflow as tf
from pycocotools import mask as coco_mask

from lts_keras.data.prepare.records import find_shards, parse_record, read_manifest
from lts_keras.metrics import intersection_over_union


@pytest.fixture(scope="module")
def files(tiny_run):
    folder = tiny_run / "evaluate"
    return json.loads((folder / "metrics.json").read_text()), json.loads((folder / "predictions.json").read_text())


def test_every_expression_of_the_judged_splits_once(files, tiny_run):
    _, predictions = files
    shards = read_manifest(tiny_run / "data")["shards"]
    wanted = sum(shard["expressions"] for shard in shards if "train" not in shard["splits"])
    assert len(predictions) == wanted
    assert {item["split"] for item in predictions} == {"val", "testA"}
    assert {"ref_id", "expression", "image_id", "split", "segmentation", "iou", "score"} <= predictions[0].keys()


def test_iou_is_that_of_the_stored_mask_at_the_original_size(files, tiny_run):
    metrics, predictions = files
    truths = {}
    for serialized in tf.data.TFRecordDataset(find_shards(tiny_run / "data", ["val"])):
        record = parse_record(serialized)
        for ref_id, png in zip(record["ref_id"].numpy(), record["mask_png"].numpy(), strict=True):
            truths[ref_id.decode()] = tf.io.decode_png(png)[..., 0].numpy() > 0
    intersections, unions = [], []
    for item in predictions:
        if item["split"] != "val":
            continue
        mask, truth = coco_mask.decode(item["segmentation"]) > 0, truths[item["ref_id"]]
        assert mask.shape == truth.shape
        intersections.append((mask & truth).sum())
        unions.append((mask | truth).sum())
        assert item["iou"] == pytest.approx(float(intersection_over_union(intersections[-1], unions[-1])))
        x, y = item["point"]
        assert item["prior_hit"] == bool(truth[y, x])
    found = metrics["slices"]["scenes/val"]
    assert found["mean_iou"]["value"] == pytest.approx(np.mean(intersection_over_union(intersections, unions)))
    assert found["overall_iou"]["value"] == pytest.approx(sum(intersections) / sum(unions))
    assert found["mean_iou"]["low"] <= found["mean_iou"]["value"] <= found["mean_iou"]["high"]


def test_trivial_answers_stand_beside(files):
    metrics, _ = files
    assert set(metrics["trivial"]["scenes/val"]) == {"whole_image", "centered_box", "left_right_rule"}
    assert metrics["threshold"] == 0.25 and len(metrics["data_digest"]) == 64
