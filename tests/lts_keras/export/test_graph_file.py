import hashlib
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tests.processes import started
from tests.small_models import photo_bytes

tf1 = tf.compat.v1

EXPORT = """
import sys
from lts_keras.config.schema import ExportConfig
from lts_keras.data.text import Tokenizer
from lts_keras.export import export_saved_model
from tests.small_models import small_model
model = small_model()
if sys.argv[2] == "busy":  # a pipeline has traced and named other things before it comes to the export
    model.predictor()
    small_model(seed=3)
export_saved_model(model, Tokenizer(model.vocabulary, model.max_tokens), sys.argv[1], ExportConfig())
"""


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_two_processes_export_the_same_bytes(tmp_path, pytestconfig):
    for name in ("busy", "fresh"):
        with started([sys.executable, "-c", EXPORT, tmp_path / name, name], cwd=pytestconfig.rootpath) as process:
            assert process.wait(timeout=300) == 0
    found = digests(tmp_path / "busy")
    assert found == digests(tmp_path / "fresh")
    assert {"saved_model.pb", "fingerprint.pb", "variables/variables.index"} <= set(found)


@pytest.fixture(scope="module")
def session(exported):
    """The SavedModel in a session, as TensorFlow Serving has it, and its signatures."""
    with tf.Graph().as_default(), tf1.Session() as running:
        yield running, tf1.saved_model.loader.load(running, ["serve"], str(exported.folder)).signature_def


def run(session, name, inputs, outputs):
    """The outputs, and the kinds of all operations that ran."""
    running, signatures = session
    signature, metadata = signatures[name], tf1.RunMetadata()
    feeds = {signature.inputs[key].name: value for key, value in inputs.items()}
    fetches = {key: signature.outputs[key].name for key in outputs}
    options = tf1.RunOptions(trace_level=tf1.RunOptions.FULL_TRACE)
    found = running.run(fetches, feeds, options=options, run_metadata=metadata)
    labels = [node.timeline_label for device in metadata.step_stats.dev_stats for node in device.node_stats]
    return found, {label.partition(" = ")[2].partition("(")[0] for label in labels}


@pytest.mark.parametrize("name", ["serving_default", "segment_expressions", "segment_encoded"])
def test_who_asks_for_a_score_waits_for_no_picture(session, name):
    inputs = {"image_bytes": [photo_bytes()], "expression": ["the left dog"]}
    if name == "segment_encoded":
        outputs = session[1]["encode_photo"].outputs
        encoded, kinds = run(session, "encode_photo", {"image_bytes": inputs.pop("image_bytes")}, list(outputs))
        assert "EncodePng" not in kinds
        inputs |= encoded
    found, kinds = run(session, name, inputs, ["score", "box", "presence", "point"])
    assert "BatchFunction" in kinds and "EncodePng" not in kinds
    whole, kinds = run(session, name, inputs, list(session[1][name].outputs))
    assert "EncodePng" in kinds
    for key, value in found.items():
        np.testing.assert_array_equal(value, whole[key])


def test_who_asks_for_the_picture_alone_gets_the_same(session):
    inputs = {"image_bytes": [photo_bytes()] * 2, "expression": ["the left dog", "red"]}
    whole, _ = run(session, "serving_default", inputs, list(session[1]["serving_default"].outputs))
    alone, _ = run(session, "serving_default", inputs, ["mask_png_bytes"])
    assert alone["mask_png_bytes"].tolist() == whole["mask_png_bytes"].tolist()


def test_functions_are_numbered_from_zero(exported):
    saved_model = saved_model_pb2.SavedModel.FromString((exported.folder / "saved_model.pb").read_bytes())
    names = [function.signature.name for function in saved_model.meta_graphs[0].graph_def.library.function]
    numbers = sorted(int(name.rpartition("_")[2]) for name in names)
    assert numbers == list(range(len(names)))
