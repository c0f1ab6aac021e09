"""The line on real photographs, at a reduced size: `configs/photos.yaml` prepares, trains, judges and answers."""

import numpy as np
import pytest

from lts_keras import LTS
from lts_keras.config.read import load_config
from lts_keras.data.prepare.prepare import prepare
from lts_keras.evaluation.evaluate import evaluate
from lts_keras.training.train import train
from tests.conftest import ROOT

SMALL = (
    "model.image_size=96",
    "train.epochs=1",
    "train.batch_size=48",
    "evaluate.bootstrap_samples=10",
)


@pytest.mark.slow
def test_photographs_from_files_to_an_answer(shared_data, tmp_path):
    overrides = [
        f"data.root={shared_data / 'data'}",
        f"weights.backbone={shared_data / 'weights' / 'yolox_nano_backbone_pafpn.keras'}",
        *SMALL,
    ]
    config = load_config(ROOT / "configs" / "photos.yaml", overrides)
    lines = []
    prepare(config, tmp_path)
    train(config, tmp_path, lines.append)
    metrics = evaluate(config, tmp_path)
    # The word vectors beside the data were found, and only what is not frozen trains.
    assert any("glove" in line for line in lines)
    assert metrics["slices"]["coco/val"]["num_expressions"] == 348
    assert metrics["slices"]["refer"]["num_expressions"] == 100
    # What was put aside, by digest, never changes.
    assert metrics["slices"]["coco/held_out"]["num_expressions"] == 222
    assert metrics["slices"]["refer_boxes/held_out"]["num_expressions"] == 407
    assert metrics["calibration"]["split"] == "dev" and metrics["threshold"] == metrics["calibration"]["threshold"]
    assert metrics["trivial"]["refer"]["left_right_rule"]["localization_accuracy"] > 0
    photo = shared_data / "data" / "coco" / "images" / "000000000086.jpg"  # grey, 640 x 480
    answer = LTS.from_preset(tmp_path / "train" / "preset").predictor()(photo, "the person on the left")
    assert answer.mask.shape == answer.prior.shape and answer.mask.dtype == bool
    x, y = answer.point
    assert 0 <= y < answer.mask.shape[0] and 0 <= x < answer.mask.shape[1]
    assert np.isfinite(answer.score)
