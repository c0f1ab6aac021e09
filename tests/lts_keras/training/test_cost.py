"""Steps, hours and memory from numbers worked out by hand, and one real step measured."""

import json

import pytest

from lts_keras.commands.cli import main
from lts_keras.config.errors import ConfigError
from lts_keras.config.read import load_config, parse_config
from lts_keras.training.cost import plan_memory, plan_steps
from lts_keras.training.measured_step import measure_step
from tests.conftest import ROOT

MEASURED = {"weights": 100, "gradients": 40, "slots": 80, "peaks": [1000, 1600], "seconds": [1.0, 2.0]}


def test_steps_and_hours_of_refcoco():
    config = load_config(ROOT / "configs/refcoco.yaml")
    plan = plan_steps(config, images_per_second=100)
    # 42,404 refs, batch 18: 2,355.8 -> 2,356 steps, 45 epochs.
    assert (plan["samples"], plan["steps_per_epoch"], plan["steps"]) == (42404, 2356, 106020)
    assert plan["hours"] == pytest.approx(106020 * 18 / 100 / 3600) and plan["from"] == "published counts"


def test_other_sampling_and_prepared_counts():
    config = load_config(ROOT / "configs/refcoco.yaml", ["train.sampling=per_expression"])
    assert plan_steps(config)["samples"] == 120624 and plan_steps(config)["hours"] is None
    config = parse_config({}, ["train.sampling=per_image", "train.batch_size=4", "train.epochs=2"])
    assert plan_steps(config, counts=(30, 20, 10))["steps"] == 6
    assert plan_steps(parse_config({"data": {"sources": [{"kind": "scenes", "name": "scenes"}]}}))["samples"] is None


def test_memory_is_scaled_by_the_stated_rules():
    # (1600 - 1000) / (3 - 1) = 300 a sample; the rest is 1000 - 220 - 300 = 480.
    found = plan_memory(MEASURED, (1, 3), batch_size=8, num_devices=2)
    assert found["activations_per_sample"] == 300 and found["activations"] == 1200 and found["rest"] == 480
    assert found["total"] == 220 + 1200 + 480
    with pytest.raises(ConfigError, match="divide by the number of devices, 3"):
        plan_memory(MEASURED, (1, 3), batch_size=8, num_devices=3)


SMALL = [
    "model.backbone=darknet_tiny",
    "weights.backbone=random",
    "model.joint_dim=16",
    "model.fusion_dim=16",
    "model.aspp_dim=16",
    "model.gru_units=16",
    "model.embedding_dim=16",
]


@pytest.mark.slow
def test_a_real_step_is_measured(tmp_path):
    config = parse_config({}, [*SMALL, "model.image_size=64"])
    found = measure_step(config, tmp_path, "float32", (1, 3))
    assert 0 < found["gradients"] <= found["weights"]
    # Adam has two slots a variable, its step and rate.
    assert found["slots"] == pytest.approx(2 * found["gradients"], abs=64)
    assert min(found["seconds"]) > 0 and min(found["peaks"]) > found["weights"]


def test_the_command_tells_boxes_and_the_guess_of_table_7(capsys):
    arguments = ["cost", "--config", str(ROOT / "configs/table7_refcoco.yaml"), "--no-measuring", "--json"]
    assert main([*arguments, "--images-per-second", "50", "--devices", "3", *SMALL, "model.image_size=64"]) == 0
    cost = json.loads(capsys.readouterr().out)
    assert "num_filters 2" in cost["guesses"][0] and "image_size 64 are a guess" in cost["guesses"][0]
    assert cost["parameters"].keys() == cost["flops"].keys() and len(cost["flops"]) == 5
    assert cost["training"]["hours"] == pytest.approx(2356 * 18 * 45 / 50 / 3600)
    head = cost["flops"]["segmentation_head"]
    assert head["image"] + head["sentence"] < head["literal"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--devices", "4"], "train.batch_size must divide by --devices 4; 16 would. Received: 18"),
        (["--devices", "0"], "--devices must be at least 1"),
        (["--images-per-second", "-1"], "--images-per-second must be above 0"),
        (["--images-per-second", "nan"], "--images-per-second must be above 0"),
    ],
)
def test_wrong_use_is_one_line(capsys, arguments, said):
    assert main(["cost", "--config", str(ROOT / "configs/refcoco.yaml"), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
