import json

import pytest

from lts_keras.config.read import parse_config
from lts_keras.export import ExportError, export, parity
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


def test_failed_parity_leaves_the_old_export(workdir, monkeypatch):
    config = parse_config({"export": {"batch_sizes": [1], "onnx": False}})
    (workdir / "export").mkdir()
    (workdir / "export" / "old").write_text("old")
    real = parity._compare

    def worse(answer, prediction, distance, where):
        return real({**answer, "score": answer["score"] + 0.01}, prediction, distance, where)

    monkeypatch.setattr(parity, "_compare", worse)
    with pytest.raises(ExportError, match="score"):
        export(config, workdir, progress=lambda line: None)
    assert [path.name for path in (workdir / "export").iterdir()] == ["old"]
    assert not list(workdir.glob(".export*"))


def test_missing_preset_is_named(tmp_path):
    with pytest.raises(WeightsError, match="train/preset"):
        export(parse_config({}), tmp_path)
