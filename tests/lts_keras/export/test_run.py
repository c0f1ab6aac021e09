import json

import pytest

from lts_keras.config.read import parse_config
from lts_keras.evaluation.exported import open_export
from lts_keras.export import ExportError, export, saved_model
from lts_keras.export.served_network import served_network
from lts_keras.prediction.compare import TOLERANCES, Tolerance
from lts_keras.prediction.settings import SETTINGS_FILE
from lts_keras.weights import WeightsError
from tests.small_models import small_model


@pytest.fixture
def workdir(tmp_path):
    small_model().save_to_preset(tmp_path / "train" / "preset")
    return tmp_path


def test_export_appears_whole_with_its_card(workdir):
    config = parse_config({"name": "mine", "export": {"batch_sizes": [1, 2], "onnx": False}})
    (workdir / "evaluate").mkdir()
    values = {"mean_iou": {"value": 0.5, "low": 0.4, "high": 0.6}, "num_expressions": 7}
    (workdir / "evaluate" / "metrics.json").write_text(json.dumps({"slices": {"scenes/val": values}}))
    lines = []
    folder = export(config, workdir, progress=lines.append)
    assert sorted(path.name for path in folder.iterdir()) == ["model_card.md", "parity.json", "saved_model"]
    assert json.loads((folder / "parity.json").read_text())["ties"] == 0
    card = (folder / "model_card.md").read_text()
    assert card.startswith("# mine\n")
    assert "| scenes/val | 0.500 (0.400-0.600) | - | - | - | 7 |" in card
    assert "64 x 64 (letterbox resize), 6 tokens, 8 words" in card
    # Of the model itself, and not the configuration's defaults.
    assert "| backbone | small_backbone |" in card and "image_size: 64" in card and "gru_units" not in card
    assert any("SavedModel = Keras model" in line for line in lines)


def serve_another_model(monkeypatch):
    """The export's own mistake: the graph is made from other weights than the preset's, which give empty masks."""
    wrong = small_model(seed=5)
    wrong.segmentation_head.score.bias.assign([-100.0])
    monkeypatch.setattr(saved_model, "served_network", lambda model, precision: served_network(wrong, precision))


def test_failed_parity_leaves_the_old_export(workdir, monkeypatch):
    config = parse_config({"export": {"batch_sizes": [1], "onnx": False}})
    (workdir / "export").mkdir()
    (workdir / "export" / "old").write_text("old")
    serve_another_model(monkeypatch)
    with pytest.raises(ExportError, match="not as the Keras model: serving_default on 'the left one': .*presence"):
        export(config, workdir, progress=lambda line: None)
    assert [path.name for path in (workdir / "export").iterdir()] == ["old"]
    assert not list(workdir.glob(".export*"))


def test_bfloat16_says_so_and_what_it_loses(workdir, prepared):
    (workdir / "data").symlink_to(prepared)
    config = parse_config({"export": {"batch_sizes": [1, 2], "onnx": False, "precision": "bfloat16"}})
    lines = []
    folder = export(config, workdir, progress=lines.append)
    settings = json.loads((folder / "saved_model" / SETTINGS_FILE).read_text())
    assert settings["precision"] == "bfloat16" and open_export(folder / "saved_model").precision == "bfloat16"
    parity = json.loads((folder / "parity.json").read_text())
    loss = parity["loss"]
    assert parity["precision"] == "bfloat16"
    assert 0 < loss["expected"] < 1 and loss["loss"] == pytest.approx(loss["expected"] - loss["mean_iou"])
    assert abs(loss["loss"]) <= 0.005
    card = (folder / "model_card.md").read_text()
    assert f"| precision | bfloat16; mean_iou {loss['mean_iou']:.4f}, in float32 {loss['expected']:.4f} |" in card
    assert any("near the Keras model" in line for line in lines)


def test_what_loses_too_much_is_not_exported(workdir, prepared, monkeypatch):
    (workdir / "data").symlink_to(prepared)
    (workdir / "export").mkdir()
    config = parse_config({"export": {"batch_sizes": [2], "onnx": False, "precision": "bfloat16"}})
    serve_another_model(monkeypatch)
    # So wide that parity, which looks at single answers, lets anything pass.
    monkeypatch.setitem(TOLERANCES, "bfloat16", Tolerance(2.0, 2.0))
    with pytest.raises(
        ExportError, match=r"saved_model: mean_iou .*: a loss of .*, over export.max_mean_iou_loss 0.005"
    ):
        export(config, workdir, progress=lambda line: None)
    assert list((workdir / "export").iterdir()) == [] and not list(workdir.glob(".export*"))


def test_missing_preset_is_named(tmp_path):
    with pytest.raises(WeightsError, match="train/preset"):
        export(parse_config({}), tmp_path)
