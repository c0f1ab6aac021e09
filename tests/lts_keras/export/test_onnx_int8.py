"""ONNX files in 8 bits: convolutions alone, calibrated on photos, and refused where they lose too much."""

import json
import types

import numpy as np
import onnx
import onnxruntime
import pytest

from lts_keras.commands import cli
from lts_keras.config.read import dump_config, parse_config
from lts_keras.data.prepare.prepare import prepare
from lts_keras.data.text import read_vocabulary
from lts_keras.evaluation.exported import open_export
from lts_keras.export import ExportError, export
from lts_keras.export.loss import LossCheck
from lts_keras.export.onnx.calibration import calibration_questions
from lts_keras.export.onnx.int8 import export_int8
from lts_keras.prediction.settings import ONNX_KEY
from tests.small_models import small_model

SCENES = {"kind": "scenes", "num_photos": {"train": 5, "val": 4}, "photo_size": [48, 64]}
VALUES = {
    "data": {"sources": [SCENES]},
    "evaluate": {"bootstrap_samples": 5},
    # A net of random weights has probabilities near the threshold everywhere.
    "export": {
        "batch_sizes": [1],
        "onnx": "both",
        "onnx_int8": True,
        "onnx_calibration_photos": 3,
        "max_mean_iou_loss": 0.5,
    },
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A work directory with an export in 8 bits too."""
    workdir, config = tmp_path_factory.mktemp("int8"), parse_config(VALUES)
    prepare(config, workdir)
    model = small_model(vocabulary=read_vocabulary(workdir / "data" / "vocabulary.txt"))
    model.save_to_preset(workdir / "train" / "preset")
    lines = []
    folder = export(config, workdir, progress=lines.append)
    return types.SimpleNamespace(workdir=workdir, config=config, model=model, folder=folder, lines=lines)


def test_all_files_appear_with_what_they_lose(made):
    files = {path.name for path in made.folder.iterdir()}
    onnx_files = {"model.onnx", "encode.onnx", "segment.onnx", "model.int8.onnx", "encode.int8.onnx"}
    assert files == onnx_files | {"saved_model", "parity.json", "model_card.md"}
    report = json.loads((made.folder / "parity.json").read_text())
    assert report["onnx_difference"] < 1e-4 and set(report["int8"]) == {"model.int8.onnx", "encode.int8.onnx"}
    card = (made.folder / "model_card.md").read_text()
    for name, found in report["int8"].items():
        assert found["loss"] == found["expected"] - found["mean_iou"] and abs(found["loss"]) < 0.2
        assert f"`{name}` loses {found['loss']:.4f} of mean_iou" in card
        assert f"writing {name}, calibrated on 3 prepared photos at most" in made.lines


def test_convolutions_alone_are_in_8_bits_each_channel_with_its_scale(made):
    graph = onnx.load(made.folder / "model.int8.onnx").graph
    constants = {one.name: one for one in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    whole = onnx.load(made.folder / "model.onnx").graph
    assert len(convolutions) == sum(node.op_type == "Conv" for node in whole.node)
    for node in convolutions:
        weights = makers[node.input[1]]
        kernel, scale = (constants[name] for name in weights.input[:2])
        assert weights.op_type == "DequantizeLinear" and kernel.data_type == onnx.TensorProto.INT8
        assert list(scale.dims) == [kernel.dims[0]]
        # 7 bits: processors that add pairs of products in 16 would overflow.
        assert np.abs(onnx.numpy_helper.to_array(kernel).astype(int)).max() <= 64
        assert makers[node.input[0]].op_type == "DequantizeLinear"
    products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm")]
    assert products and all(
        makers.get(name) is None or makers[name].op_type != "DequantizeLinear"
        for node in products
        for name in node.input[1:]
    )


def test_answers_are_near_those_in_float(made):
    random = np.random.default_rng(0)
    feed = {"image": random.random((2, 64, 64, 3), dtype=np.float32)}
    feed["token_ids"] = random.integers(1, 8, (2, 6), dtype=np.int32)
    maps = []
    for name in ("model.onnx", "model.int8.onnx"):
        session = onnxruntime.InferenceSession(made.folder / name, providers=["CPUExecutionProvider"])
        maps.append(session.run(["mask", "prior"], feed))
    differences = [np.abs(one - other).max() for one, other in zip(*maps, strict=True)]
    assert 0 < max(differences) < 0.1


@pytest.mark.parametrize("name", ["model.int8.onnx", "encode.int8.onnx", ""])
def test_each_file_is_judged_by_the_command(made, name, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(dump_config(made.config))
    words = ["evaluate", "--config", tmp_path / "c.yaml", "--workdir", made.workdir, "--model", made.folder / name]
    assert cli.main([*map(str, words)]) == 0, capsys.readouterr().err
    kind = "onnx_int8" if name else "onnx"
    metrics = json.loads((made.workdir / "evaluate" / kind / "metrics.json").read_text())
    assert metrics["model"]["kind"] == kind and metrics["model"]["path"] == (name or "export")
    assert metrics["model"]["precision"] == ("int8" if name else "float32")
    (scores,) = metrics["slices"].values()
    if name:
        report = json.loads((made.folder / "parity.json").read_text())
        assert scores["mean_iou"]["value"] == pytest.approx(report["int8"][name]["mean_iou"], abs=1e-6)


def test_what_loses_too_much_is_refused(made, tmp_path):
    # One that finds nothing: its loss is all that there is.
    blind, path = onnx.load(made.folder / "model.onnx"), tmp_path / "blind.onnx"
    (settings,) = [one for one in blind.metadata_props if one.key == ONNX_KEY]
    settings.value = json.dumps(json.loads(settings.value) | {"threshold": 0.9999})
    onnx.save(blind, path)
    check = LossCheck(made.model, made.config, made.workdir / "data", progress=lambda line: None)
    good = check(made.folder / "model.onnx")
    assert good["expected"] > 0.02 and abs(good["loss"]) < 1e-4
    strict = parse_config(VALUES | {"export": {"max_mean_iou_loss": 0.01}})
    check = LossCheck(made.model, strict, made.workdir / "data", progress=lambda line: None)
    assert check(made.folder / "model.onnx") == good
    with pytest.raises(ExportError, match=r"^blind\.onnx: mean_iou 0\.0000, the model's 0\.\d{4}: a loss of .* 0\.01$"):
        check(path)


def test_nothing_to_judge_on_is_told(made, tmp_path):
    lines = []
    assert LossCheck(made.model, made.config, tmp_path, lines.append)(made.folder / "model.onnx") is None
    assert lines == [f"model.onnx: loss not measured: no prepared data of evaluate.splits in {tmp_path}"]
    other = parse_config(VALUES | {"evaluate": {"splits": ["testB"]}})
    assert LossCheck(made.model, other, made.workdir / "data", lines.append)(made.folder / "model.onnx") is None


def test_calibration_takes_training_photos_and_draws_where_there_are_none(made, tmp_path):
    def taken(folder, count):
        return list(calibration_questions(made.model, folder, count))

    prepared, drawn = taken(made.workdir / "data", 100), taken(tmp_path, 4)
    assert len(prepared) == 5 and len(drawn) == 4  # all of the train split and no other
    for questions in (prepared, drawn):
        for image, token_ids in questions:
            assert image.shape == (64, 64, 3) and image.dtype == np.float32 and 0 <= image.min() < image.max() <= 1
            assert token_ids.shape == (6,) and token_ids.dtype == np.int32 and token_ids[0] > 0
        assert len({image.tobytes() for image, _ in questions}) == len(questions)
    np.testing.assert_array_equal(taken(tmp_path, 4)[3][0], drawn[3][0])


def test_the_same_photos_give_the_same_bytes(made, tmp_path):
    questions = list(calibration_questions(made.model, made.workdir / "data", 3))
    path = export_int8(made.folder / "encode.onnx", tmp_path / "again.onnx", questions)
    assert path.read_bytes() == (made.folder / "encode.int8.onnx").read_bytes()
    assert open_export(made.folder / "encode.int8.onnx").precision == "int8"


def test_a_file_that_is_none_is_one_line(tmp_path):
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(ExportError, match=r"^writing x\.onnx: \w+: [^\n]+$"):
        export_int8(tmp_path / "text.onnx", tmp_path / "x.onnx", [])
    assert not (tmp_path / "x.onnx").exists()
