import json

import pytest

from lts_keras.config.schema import BlessConfig, Config
from pipelines import bless, versions
from pipelines.stages import StageError


def slices(**mean_iou):
    """metrics.json's `slices`: name -> every metric at this value."""
    return {
        name.replace("_", "/"): {metric: {"value": value} for metric in bless.FLOORS}
        for name, value in mean_iou.items()
    }


def test_floors_decide_alone_where_nothing_is_served():
    floors = BlessConfig(min_mean_iou=0.5, min_localization_accuracy=0.4)
    assert bless.judge(floors, slices(scenes_val=0.5), {})[1] == []
    _, reasons = bless.judge(floors, slices(scenes_val=0.49), {})
    assert reasons == ["mean_iou on scenes/val is 0.490, below 0.500 (bless.min_mean_iou)"]


def test_a_drop_against_what_is_served_is_refused_and_a_small_one_is_not():
    limits = BlessConfig(max_mean_iou_drop=0.02)
    served = slices(scenes_val=0.6)
    assert bless.judge(limits, slices(scenes_val=0.585), served)[1] == []
    _, reasons = bless.judge(limits, slices(scenes_val=0.57), served)
    assert reasons == ["mean_iou on scenes/val is 0.570, below 0.580 (0.600 is served)"]


def test_every_data_set_of_the_split_is_judged_unless_one_is_named():
    values = slices(refcoco_val=0.6, refcocog_val=0.3, refcoco_testA=0.1)
    values["refcoco/val/small"] = values["refcoco/testA"]
    assert len(bless.judge(BlessConfig(min_mean_iou=0.5), values, {})[1]) == 1
    assert bless.judge(BlessConfig(min_mean_iou=0.5, dataset="refcoco"), values, {})[1] == []


def test_a_slice_that_was_not_evaluated_is_no_pass():
    _, reasons = bless.judge(BlessConfig(split="test"), slices(scenes_val=1.0), {})
    assert reasons == ["no slice */test was evaluated; there are scenes/val"]


def test_a_floor_on_masks_fails_where_there_are_boxes_alone():
    values = slices(boxes_val=0.7)
    values["boxes/val"]["mean_iou"]["value"] = None
    assert bless.judge(BlessConfig(), values, {})[1] == []
    assert "mean_iou on boxes/val is missing" in bless.judge(BlessConfig(min_mean_iou=0.1), values, {})[1][0]


@pytest.fixture
def workdir(tmp_path):
    """A work directory in which `train` and `evaluate` have finished."""
    for name, content in {
        "evaluate/metrics.json": {"slices": slices(scenes_val=0.6)},
        "stages/train.json": {"result": "model-1"},
        "stages/evaluate.json": {"result": "metrics-1"},
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    return tmp_path


def serve(workdir, model, mean_iou):
    source = workdir / "saved"
    source.mkdir(exist_ok=True)
    versions.publish(workdir / "serving", source, {"model": model, "slices": slices(scenes_val=mean_iou)})


def test_the_decision_is_written_for_either_outcome(workdir):
    assert bless.run(Config(), workdir, workdir / "serving") == "BLESSED on scenes/val"
    assert json.loads((workdir / "bless/decision.json").read_text())["decision"] == "BLESSED"
    with pytest.raises(StageError, match=r"^NOT_BLESSED: mean_iou on scenes/val is 0.600, below 0.900"):
        bless.run(Config(bless={"min_mean_iou": 0.9}), workdir, workdir / "serving")
    decision = json.loads((workdir / "bless/decision.json").read_text())
    assert decision["decision"] == "NOT_BLESSED" and len(decision["reasons"]) == 1


def test_the_newest_version_is_what_counts_and_a_model_is_not_held_against_itself(workdir):
    serve(workdir, "better", 0.9)
    with pytest.raises(StageError, match="0.900 is served"):
        bless.run(Config(), workdir, workdir / "serving")
    serve(workdir, "model-1", 0.9)
    assert "against" not in bless.run(Config(), workdir, workdir / "serving")
