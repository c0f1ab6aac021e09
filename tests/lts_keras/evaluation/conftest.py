"""A work directory with prepared scenes, an untrained preset and answers made from the truth."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from lts_keras.config.read import parse_config
from lts_keras.data.prepare.masks import decode_mask
from lts_keras.data.prepare.prepare import prepare
from lts_keras.data.prepare.records import data_digest, find_shards, parse_record, read_records
from lts_keras.data.text import read_vocabulary
from tests.lts_keras.evaluation.drawn import write_evaluation
from tests.lts_keras.evaluation.rows import row

SCENES = {"kind": "scenes", "num_photos": {"train": 4, "val": 4, "testA": 2}, "photo_size": [48, 64]}


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory):
    """`(config, workdir)`; the answers are right, shifted or empty in turn."""
    from lts_keras.models.variants import make_lts

    workdir = tmp_path_factory.mktemp("evaluated")
    config = parse_config({"name": "page <b>", "data": {"sources": [SCENES]}, "evaluate": {"num_pictures": 8}})
    prepare(config, workdir)
    vocabulary = read_vocabulary(workdir / "data/vocabulary.txt")
    small = {"embedding_dim": 8, "gru_units": 8, "joint_dim": 16, "fusion_dim": 8, "aspp_dim": 8}
    make_lts(vocabulary=vocabulary, image_size=64, backbone="darknet_tiny", **small).save_to_preset(
        workdir / "train/preset"
    )
    history = {"epoch": [0, 1, 2], "loss": [3.0, 2.0, 1.5], "val_loss": [3.5, None, 2.0], "learning_rate": [1e-3] * 3}
    (workdir / "train/history.json").write_text(json.dumps(history | {"val_mask_mean_iou": [0.1, 0.2, 0.4]}))
    write_evaluation(workdir / "evaluate", answers(workdir), data_digest=data_digest(workdir / "data"))
    return config, workdir


def answers(workdir, shift=0):
    """Rows of predictions.json for val and testA: every third answer right, the next shifted, the next empty."""
    found = []
    for path in find_shards(workdir / "data", ["val", "testA"]):
        for serialized in read_records(path):
            record = parse_record(serialized)
            for place in range(len(record["ref_id"])):
                found.append(_answer(record, place, (len(found) + shift) % 3))
    return found


def _answer(record, place, kind):
    truth = decode_mask(record["mask_png"][place].numpy())
    mask = [truth, np.roll(truth, 8, 1), np.zeros_like(truth)][kind]
    encoded = coco_mask.encode(np.asfortranarray(mask, "uint8"))
    y, x = np.argwhere(truth)[0]
    return row(
        mask,
        truth,
        ref_id=record["ref_id"][place].numpy().decode(),
        expression=record["expressions"][place][0].numpy().decode() + " & <script>",
        image_id=record["photo_id"].numpy().decode(),
        category="<script>" + record["category"][place].numpy().decode(),
        dataset="scenes",
        split=record["split"][place].numpy().decode(),
        point=[int(x), int(y)],
        found=["right", "background", "nothing"][kind],
        segmentation={"size": encoded["size"], "counts": encoded["counts"].decode()},
    )
