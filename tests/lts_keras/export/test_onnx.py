"""The network as ONNX files: the same probabilities, the same bytes, and one line when the process fails."""

import hashlib
import json

import onnx
import pytest

from lts_keras.export import ExportError
from lts_keras.export.onnx import check_halves, check_onnx
from lts_keras.export.onnx.child import run_child
from lts_keras.export.onnx.write import write_onnx
from lts_keras.prediction.settings import ONNX_KEY, ONNX_WEIGHTS_KEY, ModelSettings
from tests.conftest import run_python
from tests.small_models import small_model

PARTS = ("whole", "encode", "segment")


@pytest.fixture(scope="module")
def written(onnx_files):
    return onnx_files


def graph_of(path):
    return onnx.load(path).graph


def test_probabilities_are_the_models_at_every_batch_size(written):
    for batch in (1, 3):
        assert check_onnx(written.whole, written.model, batch=batch) < 1e-5
        assert check_halves(written.encode, written.segment, written.model, sentences=batch) < 1e-5


def test_another_models_probabilities_are_refused(written):
    other = small_model(seed=3)
    with pytest.raises(ExportError, match=r"model\.onnx: probabilities differ"):
        check_onnx(written.whole, other)
    with pytest.raises(ExportError, match=r"segment\.onnx: probabilities differ"):
        check_halves(written.encode, written.segment, other)


def test_files_say_what_goes_in_and_out(written):
    def shapes(values):
        return {
            one.name: [side.dim_param or side.dim_value for side in one.type.tensor_type.shape.dim] for one in values
        }

    graphs = {part: graph_of(getattr(written, part)) for part in PARTS}
    answers = {"mask": ["batch", 16, 16, 1], "prior": ["batch", 8, 8, 1]}
    assert shapes(graphs["whole"].input) == {"image": ["batch", 64, 64, 3], "token_ids": ["batch", 6]}
    assert shapes(graphs["whole"].output) == answers
    assert shapes(graphs["encode"].input) == {"image": ["photos", 64, 64, 3]}
    features = shapes(graphs["encode"].output)
    assert list(features) == [f"feature_{number}" for number in range(len(features))]
    of_one_photo = {name: [1, *shape[1:]] for name, shape in features.items()}
    assert shapes(graphs["segment"].input) == of_one_photo | {"token_ids": ["sentences", 6]}
    assert shapes(graphs["segment"].output) == {name: ["sentences", *shape[1:]] for name, shape in answers.items()}
    for part in PARTS:
        properties = {one.key: one.value for one in onnx.load(getattr(written, part)).metadata_props}
        assert ModelSettings.from_json(properties[ONNX_KEY]) == ModelSettings.of_model(written.model)
        assert len(properties[ONNX_WEIGHTS_KEY]) == 64


def test_halves_share_no_large_weight(written):
    """Both halves together are as large as the whole."""
    sizes = {part: sum(len(one.raw_data) for one in graph_of(getattr(written, part)).initializer) for part in PARTS}
    assert sizes["whole"] <= sizes["encode"] + sizes["segment"] < 1.1 * sizes["whole"]


def test_graphs_hold_what_onnxruntime_is_fast_at(written):
    graph = graph_of(written.whole)
    made = {name: node.op_type for node in graph.node for name in node.output}
    operators = set(made.values())
    assert not operators & {"Loop", "Scan", "ConvTranspose"}
    constants = {one.name for one in graph.initializer}
    for node in graph.node:
        # Nothing is left to be calculated from weights alone, and no batch norm follows a convolution.
        assert not set(node.input) <= constants, node.name
        assert node.op_type != "BatchNormalization" or made[node.input[0]] != "Conv", node.name
    kernels = [one.name for one in graph.initializer if one.name.endswith("kernel")]
    assert "lts/fusion/c5_projection/conv/kernel" in kernels


AGAIN = """
import sys
from lts_keras.export.onnx.write import write_onnx
from tests.small_models import small_model
from pathlib import Path
small_model(seed=1)  # what was made before has moved the numbers in names
write_onnx(small_model(), {part: Path(sys.argv[1]) / f"{part}.onnx" for part in ("whole", "encode", "segment")})
"""


def test_another_process_writes_the_same_bytes(written, tmp_path):
    done = run_python("-c", AGAIN, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    for part in PARTS:
        one, other = (path.read_bytes() for path in (getattr(written, part), tmp_path / f"{part}.onnx"))
        assert hashlib.sha256(one).hexdigest() == hashlib.sha256(other).hexdigest(), part


def test_a_process_that_fails_says_why_in_one_line(tmp_path, monkeypatch):
    with pytest.raises(ExportError, match=r"^converting to x\.onnx: FileNotFoundError: .*task\.json'$"):
        run_child("lts_keras.export.onnx.convert", tmp_path, "converting to x.onnx")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "killed_child.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    with pytest.raises(ExportError, match=r"^x: the process was ended by SIGKILL; the memory may not have sufficed$"):
        run_child("killed_child", tmp_path, "x")


def test_what_the_converter_does_not_know_is_named(tmp_path):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((2,), tf.float32, "image")])
    def strange(image):
        return tf.raw_ops.Digamma(x=image)

    graph = strange.get_concrete_function().graph
    (tmp_path / "whole.pb").write_bytes(graph.as_graph_def().SerializeToString())
    values = [
        {"name": name, "tensor": tensor.name, "dtype": "float32", "shape": [2]}
        for name, tensor in (("image", graph.inputs[0]), ("mask", graph.outputs[0]))
    ]
    part = {"graph": "whole.pb", "file": str(tmp_path / "x.onnx"), "inputs": values[:1], "outputs": values[1:]}
    task = {"parts": [part | {"weights": {}}], "weights": [], "properties": {}}
    (tmp_path / "task.json").write_text(json.dumps(task))
    with pytest.raises(ExportError, match="^converting: ValueError: no ONNX operators for Digamma$"):
        run_child("lts_keras.export.onnx.convert", tmp_path, "converting")
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.parametrize("arguments", [{"locator": "transformer"}, {"segmentation": False, "locator": "word_filter"}])
def test_other_models_are_converted_alike(tmp_path, arguments):
    model = small_model(**arguments)
    files = {part: tmp_path / f"{part}.onnx" for part in PARTS}
    write_onnx(model, files)
    assert check_onnx(files["whole"], model) < 1e-5
    assert check_halves(files["encode"], files["segment"], model) < 1e-5
