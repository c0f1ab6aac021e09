"""ONNX files asked without TensorFlow answer as the model does."""

import json
import shutil

import numpy as np
import onnx
import pytest

from lts_keras.data.schema import DataError
from lts_keras.data.sources.scene_drawing import Look
from lts_keras.data.sources.scenes import draw_scene
from lts_keras.prediction.onnx_network import OnnxNetwork
from lts_keras.prediction.onnx_predictor import OnnxPredictor
from lts_keras.prediction.presence import Presence
from lts_keras.prediction.settings import ONNX_KEY, ONNX_WEIGHTS_KEY
from lts_keras.weights import WeightsError
from tests.conftest import run_python
from tests.small_models import photo_bytes, small_model
from tests.turned import flat_scene, turned_photo

EXPRESSIONS = ["the left dog", "RED circle!", "xyzzy"]


def changed(source, path, remove=(), **properties):
    """A copy of an ONNX file with other metadata properties."""
    model = onnx.load(source)
    known = {one.key: one.value for one in model.metadata_props} | properties
    del model.metadata_props[:]
    for key, value in known.items():
        if key not in remove:
            model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
    return path


def with_settings(source, path, **values):
    (text,) = [one.value for one in onnx.load(source).metadata_props if one.key == ONNX_KEY]
    return changed(source, path, **{ONNX_KEY: json.dumps(json.loads(text) | values)})


def photos():
    random = np.random.default_rng(7)
    drawn = [draw_scene(random, size, Look(), "val")[0] for size in ((64, 64), (90, 150), (240, 170))]
    return [*drawn, photo_bytes(50, 31), photo_bytes(300, 400), turned_photo(flat_scene(40, 72), 6, "JPEG")]


def compare(found, expected, threshold):
    """IoU of two answers' masks, after checking all else."""
    assert found.score == pytest.approx(expected.score, abs=5e-3)
    assert found.presence == pytest.approx(expected.presence, abs=1e-4)
    np.testing.assert_allclose(found.prior, expected.prior, atol=1e-3)
    assert np.abs(np.subtract(found.point, expected.point)).max() <= max(expected.mask.shape) / 8
    union = (found.mask | expected.mask).sum()
    return (found.mask & expected.mask).sum() / union if union else 1.0


def masks_agree(predictor, onnx_predictor, contents):
    kinds = set()
    for content in contents:
        pairs = zip(
            onnx_predictor.predict_many(content, EXPRESSIONS),
            predictor.predict_many(content, EXPRESSIONS),
            strict=True,
        )
        for found, expected in pairs:
            assert compare(found, expected, predictor.threshold) > 0.99
            kinds.add(0 < expected.mask.mean() < 1)
    assert True in kinds  # not only empty or full masks, which any network would give


@pytest.fixture(scope="module")
def predictor(onnx_files):
    return onnx_files.model.predictor()


@pytest.mark.parametrize("name", ["model.onnx", "encode.onnx", "segment.onnx", ""])
def test_masks_are_the_models(onnx_files, predictor, name):
    masks_agree(predictor, OnnxPredictor(onnx_files.folder / name), photos())


def test_real_photos_too(onnx_files, predictor, shared_data):
    found = sorted((shared_data / "data").rglob("*.jpg"))[::97][:5]
    assert len(found) == 5
    masks_agree(predictor, OnnxPredictor(onnx_files.folder), [path.read_bytes() for path in found])


def test_settings_of_the_file_decide(onnx_files, tmp_path):
    presence = {"bias": 0.0, "mask_weight": 0.0, "prior_weight": 0.0, "threshold": 0.6}
    path = with_settings(onnx_files.whole, tmp_path / "m.onnx", threshold=0.55, image_resize="plain", presence=presence)
    model = small_model(image_resize="plain", threshold=0.55)
    found = OnnxPredictor(path)(photo_bytes(), "dog")
    assert found.presence == 0.5 and not found.mask.any() and found.box == (0, 0, 0, 0)
    path = with_settings(onnx_files.whole, tmp_path / "m.onnx", threshold=0.55, image_resize="plain")
    masks_agree(model.predictor(), OnnxPredictor(path), photos())
    assert OnnxPredictor(path).settings.presence == Presence()


def test_many_sentences_run_a_few_at_a_time(onnx_files):
    content = photo_bytes()
    for path in (onnx_files.whole, onnx_files.encode):
        one, many = OnnxPredictor(path, step=1), OnnxPredictor(path, step=4)
        for first, second in zip(*(one.predict_many(content, EXPRESSIONS * 3) for one in (one, many)), strict=True):
            np.testing.assert_allclose(first.prior, second.prior, atol=1e-5)


def test_rows_go_to_the_image_that_they_belong_to(onnx_files):
    random = np.random.default_rng(0)
    images = random.random((3, 64, 64, 3), dtype=np.float32)
    token_ids = random.integers(1, 8, (5, 6), dtype=np.int32)
    index = np.array([2, 0, 2, 1, 0])
    whole, halves = (OnnxNetwork(path)(images, token_ids, index) for path in (onnx_files.whole, onnx_files.encode))
    for one, other in zip(whole, halves, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert np.abs(whole[0][0] - whole[0][2]).max() > 1e-4


def test_arrays_are_photos_too(onnx_files):
    predictor, pixels = OnnxPredictor(onnx_files.whole), flat_scene(40, 72)
    found = predictor(pixels, "dog")
    assert found.mask.shape == (40, 72)
    with pytest.raises(DataError, match="uint8"):
        predictor(pixels / 255, "dog")
    with pytest.raises(DataError, match="must not be empty"):
        predictor(pixels, " ")
    with pytest.raises(DataError, match="1 to 100 pixels"):
        OnnxPredictor(onnx_files.whole, max_photo_pixels=100)(photo_bytes(), "dog")


def refused(path, match):
    with pytest.raises(WeightsError, match=match) as caught:
        OnnxNetwork(path)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_asked_is_one_line(onnx_files, tmp_path):
    refused(tmp_path / "no.onnx", r"no\.onnx: neither an ONNX file nor a folder .* Found: nothing there$")
    refused(tmp_path, "Found: a folder without them$")
    (tmp_path / "text.onnx").write_text("no network")
    refused(tmp_path / "text.onnx", r"text\.onnx: cannot be read as ONNX")
    shutil.copy(onnx_files.encode, tmp_path / "encode.onnx")
    refused(tmp_path, r"encode\.onnx: one half of a network; the other one, segment\.onnx, must lie beside it$")
    changed(onnx_files.segment, tmp_path / "segment.onnx", **{ONNX_WEIGHTS_KEY: "another"})
    refused(tmp_path / "segment.onnx", "encode.onnx and segment.onnx are of different exports$")
    refused(changed(onnx_files.whole, tmp_path / "old.onnx", remove=[ONNX_KEY]), "missing, .*; export again$")
    refused(changed(onnx_files.whole, tmp_path / "odd.onnx", **{ONNX_KEY: "{}"}), "image_size must be int")
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    values = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "g", values[:1], values[1:])
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "foreign.onnx")
    refused(tmp_path / "foreign.onnx", r"no network of this project. Received: inputs \['x'\]$")


ALONE = """
import sys
from lts_keras.commands import cli
code = cli.main(sys.argv[1:])
heavy = {"tensorflow", "tensorflow_text", "keras", "tf2onnx", "scipy", "pycocotools"} & set(sys.modules)
sys.exit(f"imported: {sorted(heavy)}" if heavy else code)
"""


def test_the_command_answers_without_tensorflow(onnx_files, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(photo_bytes(60, 80))
    words = ["predict", "--model", onnx_files.folder, "--image", tmp_path / "photo.jpg", "--expression", "the dog"]
    done = run_python("-c", ALONE, *words, "--expression", "red", "--output", tmp_path / "answer.png")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("'the dog': score 0.") and "'red': score 0." in done.stdout and not done.stderr
    assert (tmp_path / "answer.png").is_file()
