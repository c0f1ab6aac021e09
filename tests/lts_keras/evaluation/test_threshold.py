"""One threshold for evaluation, export and prediction; what was trained cannot be overridden behind it."""

import json
import shutil

import numpy as np
import pytest
from pycocotools import mask as coco_mask

import pipelines.evaluate
import pipelines.export
import pipelines.infra_validate
import pipelines.train
from lts_keras.commands import cli
from lts_keras.config.read import parse_config


@pytest.fixture
def workdir(tiny_run, tmp_path):
    """A copy of the tiny run that may be written to."""
    (tmp_path / "data").symlink_to(tiny_run / "data")
    shutil.copytree(tiny_run / "train" / "preset", tmp_path / "train" / "preset")
    return tmp_path


def run(command, tiny_config, workdir, *words):
    return cli.main([command, "--config", str(tiny_config), "--workdir", str(workdir), *map(str, words)])


def areas(workdir):
    predictions = json.loads((workdir / "evaluate" / "predictions.json").read_text())
    return np.array([coco_mask.area(one["segmentation"]) for one in predictions])


def test_the_threshold_of_evaluate_makes_the_masks_and_is_reported(tiny_config, workdir, tiny_run):
    assert run("evaluate", tiny_config, workdir, "evaluate.threshold=0.6") == 0
    metrics = json.loads((workdir / "evaluate" / "metrics.json").read_text())
    assert metrics["threshold"] == metrics["config"]["evaluate"]["threshold"] == 0.6
    assert metrics["config"]["model"]["threshold"] == 0.25
    assert (areas(workdir) <= areas(tiny_run)).all() and (areas(workdir) < areas(tiny_run)).any()


@pytest.mark.parametrize("command", ["evaluate", "export", "report", "predict"])
def test_a_contradiction_is_refused_before_anything_is_written(command, tiny_config, workdir, tiny_run, capsys):
    words = ["--image", tiny_run / "demo" / "photo.jpg", "--expression", "a circle"] if command == "predict" else []
    if command == "report":
        shutil.copytree(tiny_run / "evaluate", workdir / "evaluate")
        (workdir / "evaluate" / "report.html").unlink()
    assert run(command, tiny_config, workdir, *words, "model.threshold=0.9") == 2
    message = capsys.readouterr().err
    assert "model.threshold: " in message and "trained with 0.25" in message and "Received: 0.9" in message
    assert message.count("\n") == 1
    assert not (workdir / "evaluate" / "report.html").exists() and not (workdir / "export").exists()


def test_another_threshold_judges_and_exports_anew_and_trains_nothing(tmp_path):
    one, other = (parse_config({"evaluate": {"threshold": value}}) for value in (None, 0.4))
    for stage in (pipelines.export, pipelines.infra_validate):
        assert stage.fingerprint(one, tmp_path) != stage.fingerprint(other, tmp_path)
    assert "evaluate" in pipelines.evaluate.SECTIONS and "evaluate" not in pipelines.train.SECTIONS
    assert pipelines.train.fingerprint(one, tmp_path) == pipelines.train.fingerprint(other, tmp_path)


def test_values_that_evaluate_chose_export_anew_and_are_part_of_its_result(tmp_path):
    asked = {"calibration_split": "val", "splits": ["testA"]}
    plain, chosen = (parse_config({"evaluate": asked | more}) for more in ({}, {"presence": True}))
    path = tmp_path / "evaluate" / "calibration.json"
    assert str(path.relative_to(tmp_path)) in pipelines.evaluate.outputs(chosen)
    assert pipelines.evaluate.outputs(plain) == pipelines.evaluate.OUTPUTS
    path.parent.mkdir()
    seen = []
    for presence in ({"threshold": 0.5}, {"threshold": 0.6}):
        path.write_text(json.dumps({"threshold": None, "presence": presence}))
        seen.append([stage.fingerprint(chosen, tmp_path) for stage in (pipelines.export, pipelines.infra_validate)])
        assert pipelines.export.fingerprint(plain, tmp_path) is None
    path.unlink()
    seen.append([stage.fingerprint(chosen, tmp_path) for stage in (pipelines.export, pipelines.infra_validate)])
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert seen[one][0] != seen[other][0] and seen[one][1] != seen[other][1]
