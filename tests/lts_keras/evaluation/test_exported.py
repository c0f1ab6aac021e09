"""Exports judged by the evaluator of presets: the same answers, and one line about what cannot be judged."""

import json
import shutil

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from lts_keras.commands import cli
from lts_keras.config.errors import ConfigError
from lts_keras.config.read import parse_config
from lts_keras.data.text import Tokenizer, read_vocabulary
from lts_keras.evaluation.against_preset import differences, evaluate_export
from lts_keras.evaluation.evaluate import evaluate
from lts_keras.evaluation.exported import open_export
from lts_keras.export.onnx import export_onnx
from lts_keras.export.saved_model import export_saved_model
from lts_keras.prediction.presence import Presence
from lts_keras.prediction.settings import SETTINGS_FILE, ModelSettings
from lts_keras.weights import WeightsError
from tests.small_models import small_model

CONFIG = parse_config({"evaluate": {"bootstrap_samples": 5}})


def silent(line):
    pass


@pytest.fixture(scope="module")
def made(evaluated, tmp_path_factory):
    """A work directory whose preset was judged, with the SavedModel and the ONNX file of the same model."""
    workdir = tmp_path_factory.mktemp("judged")
    (workdir / "data").symlink_to(evaluated[1] / "data")
    model = small_model(vocabulary=read_vocabulary(workdir / "data" / "vocabulary.txt"))
    model.save_to_preset(workdir / "train" / "preset")
    evaluate(CONFIG, workdir)
    export_saved_model(
        model, Tokenizer(model.vocabulary, model.max_tokens), workdir / "saved_model", parse_config({}).export
    )
    export_onnx(model, workdir / "model.onnx")
    return workdir


@pytest.mark.parametrize(("kind", "file"), [("saved_model", "saved_model"), ("onnx", "model.onnx")])
def test_an_export_answers_as_its_preset_and_loses_nothing(made, kind, file):
    before = (made / "evaluate" / "metrics.json").read_bytes()
    metrics = evaluate_export(CONFIG, made, made / file, progress=silent)
    assert metrics["model"] == {"kind": kind, "precision": "float32", "image_size": 64, "path": file}
    assert set(metrics["against_preset"]) == set(metrics["slices"]) == {"scenes/val", "scenes/testA"}
    for values in metrics["against_preset"].values():
        assert {"mean_iou", "overall_iou", "precision_at_50", "localization_accuracy"} <= set(values)
        assert max(map(abs, values.values())) < 1e-4
    assert (made / "evaluate" / "metrics.json").read_bytes() == before
    rows = [json.loads((made / "evaluate" / part / "predictions.json").read_text()) for part in ("", kind)]
    assert len(rows[0]) == len(rows[1]) == sum(one["num_expressions"] for one in metrics["slices"].values())
    for one, other in zip(*rows, strict=True):
        assert (one["ref_id"], one["expression"]) == (other["ref_id"], other["expression"])
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)
        masks = [coco_mask.decode(row["segmentation"]) for row in (one, other)]
        assert np.mean(masks[0] != masks[1]) < 1e-3
    # The answers are not all the same empty or full mask, which any network would give.
    assert 0 < np.mean([coco_mask.decode(row["segmentation"]).mean() for row in rows[0]]) < 1


def test_an_export_is_judged_by_what_it_says_of_itself(made, tmp_path):
    shutil.copytree(made / "saved_model", tmp_path / "other")
    settings = json.loads((tmp_path / "other" / SETTINGS_FILE).read_text())
    presence = {"bias": 0.0, "mask_weight": 0.0, "prior_weight": 0.0, "threshold": 0.6}
    (tmp_path / "other" / SETTINGS_FILE).write_text(json.dumps(settings | {"threshold": 0.4, "presence": presence}))
    (tmp_path / "data").symlink_to(made / "data")
    lines = []
    metrics = evaluate_export(CONFIG, tmp_path, tmp_path / "other", lines.append)
    assert metrics["against_preset"] is None
    assert "no such file; run `lts evaluate` without --model first" in lines[-1]
    assert metrics["threshold"] == 0.4 and metrics["presence"] == presence
    rows = json.loads((tmp_path / "evaluate" / "saved_model" / "predictions.json").read_text())
    # Presence is sigmoid(0) = 0.5 whatever the photo, below the threshold.
    assert {row["presence"] for row in rows} == {0.5}
    assert not any(coco_mask.area(row["segmentation"]) for row in rows)
    assert metrics["slices"]["scenes/val"]["mean_iou"]["value"] == 0


def test_differences_by_hand(tmp_path):
    def metrics(one, other):
        slices = {"a/val": {"mean_iou": {"value": one}, "ciou": {"value": other}, "num_expressions": 3}}
        return {"slices": slices, "data_digest": "d", "model": {"image_size": 64}, "threshold": 0.5, "presence": None}

    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(metrics(0.5, None)))
    assert differences(metrics(0.25, 0.1), path) == ({"a/val": {"mean_iou": -0.25}}, None)
    for key, value in (("data_digest", "e"), ("threshold", 0.4), ("presence", {}), ("model", {"image_size": 96})):
        found, reason = differences(metrics(0.25, 0.1) | {key: value}, path)
        assert found is None and f"another {'image_size' if key == 'model' else key}: " in reason
    path.write_text('{"slices": 3}')
    assert differences(metrics(0.25, 0.1), path)[1].startswith(f"{path}: cannot be read: ")


def test_the_command_prints_scores_and_differences(made, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("evaluate: {bootstrap_samples: 5}\n")
    command = ["evaluate", "--config", tmp_path / "c.yaml", "--workdir", made, "--model", made / "saved_model"]
    assert cli.main([*map(str, command)]) == 0
    printed = capsys.readouterr().out
    assert "mean IoU" in printed and "against the preset:" in printed
    assert "scenes/val  mean_iou +0.0000" in printed
    assert str(made / "evaluate" / "saved_model" / "metrics.json") in printed


def test_another_size_is_judged_beside_the_models_own(made, tmp_path, capsys):
    before = json.loads((made / "evaluate" / "metrics.json").read_text())
    (tmp_path / "c.yaml").write_text("evaluate: {bootstrap_samples: 5, image_size: 96}\n")
    assert cli.main(["evaluate", "--config", str(tmp_path / "c.yaml"), "--workdir", str(made)]) == 0
    path = made / "evaluate" / "at_96" / "metrics.json"
    assert capsys.readouterr().out.endswith(f"metrics: {path}\n")
    found = json.loads(path.read_text())
    assert found["model"]["image_size"] == 96 and before["model"]["image_size"] == 64
    assert found["slices"]["scenes/val"] != before["slices"]["scenes/val"]
    assert json.loads((made / "evaluate" / "metrics.json").read_text()) == before


@pytest.mark.parametrize(
    ("key", "value", "fixed"), [("image_size", 96, 64), ("threshold", 0.9, 0.5), ("num_devices", 2, 1)]
)
def test_what_an_export_fixes_cannot_be_asked_otherwise(made, key, value, fixed):
    config = parse_config({"evaluate": {key: value}})
    with pytest.raises(
        ConfigError, match=rf"^evaluate.{key}: .* answers with {fixed}, which is fixed. Received: {value}$"
    ):
        evaluate_export(config, made, made / "saved_model", progress=silent)


def test_settings_come_back_as_they_were():
    settings = ModelSettings(96, "plain", 7, ("œuf", 'a"b'), 0.3, Presence(0.5, 1.5, -0.25, 0.6), "bfloat16")
    assert ModelSettings.from_json(settings.to_json()) == settings
    later = json.loads(settings.to_json()) | {"new": 1}
    assert ModelSettings.from_json(json.dumps(later)) == settings


@pytest.mark.parametrize("name", ["image_size", "vocabulary", "threshold", "presence", "precision"])
def test_a_wrong_or_missing_setting_is_named(name):
    settings = json.loads(ModelSettings(96, "plain", 7, ("a",), 0.3, Presence()).to_json())
    for changed in (settings | {name: None}, {key: value for key, value in settings.items() if key != name}):
        with pytest.raises(ValueError, match=f"^{name} must be"):
            ModelSettings.from_json(json.dumps(changed))


def test_what_cannot_be_judged_is_told_in_one_line(made, tmp_path):
    with pytest.raises(WeightsError, match="nothing there$"):
        open_export(tmp_path / "missing")
    with pytest.raises(WeightsError, match=r"without saved_model\.pb$"):
        open_export(tmp_path)
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(WeightsError, match=r"text\.onnx: cannot be read as ONNX") as caught:
        open_export(tmp_path / "text.onnx")
    assert "\n" not in str(caught.value)
    shutil.copytree(made / "saved_model", tmp_path / "old")
    (tmp_path / "old" / SETTINGS_FILE).unlink()
    with pytest.raises(WeightsError, match=r"lts\.json: missing, .*; export again$"):
        open_export(tmp_path / "old")
    (tmp_path / "old" / SETTINGS_FILE).write_text('{"image_size": "64"}')
    with pytest.raises(WeightsError, match=r"lts\.json: cannot be read: image_size must be int"):
        open_export(tmp_path / "old")
    shutil.copytree(made / "saved_model", tmp_path / "cut")
    (tmp_path / "cut" / "saved_model.pb").write_bytes(b"\x08\x01 cut")
    with pytest.raises(WeightsError, match=r"cut: cannot be read as a SavedModel") as caught:
        open_export(tmp_path / "cut")
    assert "\n" not in str(caught.value)
