"""Every configuration of the repository loads, builds its model and trains one step at a reduced size."""

from pathlib import Path

import numpy as np
import pytest

from lts_keras.config.read import load_config
from lts_keras.losses import lts_losses
from lts_keras.models.from_config import model_from_config
from lts_keras.training.parts import compile_model

CONFIGS = sorted((Path(__file__).resolve().parents[3] / "configs").glob("*.yaml"))
TABLES = [path for path in CONFIGS if path.stem.startswith(("table", "refcoco"))]
REDUCED = (
    "model.backbone=darknet_tiny",
    "model.trainable_backbone=none",
    "model.image_size=64",
    "model.embedding_dim=6",
    "model.gru_units=4",
    "model.joint_dim=8",
    "model.fusion_dim=4",
    "model.feed_forward_dim=8",
    "model.aspp_dim=4",
    "train.cache_features=false",
    "weights.glove=null",
    "weights.backbone=random",
)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configuration_trains_a_step(path):
    config = load_config(path, REDUCED)
    rng = np.random.default_rng(0)
    model = model_from_config(config, ["red", "dog"])
    truth = {"mask": rng.integers(0, 2, (2, 16, 16, 1)), "prior": rng.integers(0, 2, (2, 8, 8, 1))}
    if config.model.refiner_channels:
        inputs = {
            "features": rng.normal(size=(2, 8, 8, config.model.refiner_channels)).astype("float32"),
            "prior": rng.normal(size=(2, 8, 8, 1)),
        }
        truth.pop("prior")
        model.compile("adam", loss={"mask": lts_losses()["loss"]["mask"]})
    else:
        inputs = {
            "image": rng.random((2, 64, 64, 3), "float32"),
            "token_ids": rng.integers(0, 4, (2, config.model.max_tokens)),
        }
        if config.train.box_supervision:
            truth["box_mask"] = rng.integers(0, 2, (2, 16, 16, 5))
        compile_model(model, config, steps_per_epoch=1)
    model.run_eagerly = True  # one step: tracing it would take ten times as long
    before = [variable.numpy() for variable in model.trainable_variables]
    loss = model.train_on_batch(inputs, truth, return_dict=True)["loss"]
    assert np.isfinite(loss)
    changed = [(old != new.numpy()).any() for old, new in zip(before, model.trainable_variables, strict=True)]
    assert np.mean(changed) > 0.5


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_a_row_of_a_table_says_what_the_paper_reports_and_that_ours_is_not_trained(path):
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert "Table" in head[0]
    assert any("paper" in line.lower() and ("score" in line) for line in head)
    assert "# Ours: not trained." in head


def test_every_row_of_the_tables_has_a_file():
    names = {path.stem for path in TABLES}
    assert {"refcoco", "refcoco_plus", "refcocog_umd", "refcocog_google", "table3_refiner"} <= names
    counts = [sum(name.startswith(f"table{table}_") for name in names) for table in (2, 4, 5, 6, 7)]
    assert counts == [7, 3, 4, 6, 3]
    distinct = {repr(load_config(path).model_copy(update={"name": ""})) for path in TABLES if "table2" in path.stem}
    assert len(distinct) == 7
