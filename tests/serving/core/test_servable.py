"""Any SavedModel: what it declares, what it answers, what it costs to ask."""

import dataclasses
import shutil
import time

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from serving.core.servable import Servable, Signature, TensorSpec
from serving.core.session import session_config
from serving.errors import RequestError, explain
from serving.options import ServerOptions
from tests.serving.core.model_folders import ask
from tests.serving.other_models import write_half_plus_two, write_odd_dtypes

OPTIONS = ServerOptions()
FLOAT, STRING = 1, 7


@pytest.fixture(scope="module")
def half(half_plus_two):
    servable = Servable(half_plus_two, "half", 5, OPTIONS)
    yield servable
    servable.close()


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    servable = Servable(write_odd_dtypes(tmp_path_factory.mktemp("odd") / "1"), "odd", 1, OPTIONS)
    yield servable
    servable.close()


def example(**features):
    features = {
        name: tf.train.Feature(float_list=tf.train.FloatList(value=[value])) for name, value in features.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def strings(*values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


def test_a_model_of_tensorflow_1_declares_its_signatures(half):
    assert (half.name, half.version) == ("half", 5)
    regress = "tensorflow/serving/regress"
    expected = TensorSpec("tf_example:0", STRING, (None,)), TensorSpec("y2:0", FLOAT, (None, 1))
    signature = Signature("regress_x_to_y2", regress, {"inputs": expected[0]}, {"outputs": expected[1]})
    assert half.signatures["regress_x_to_y2"] == signature
    assert (
        set(half.signatures)
        == set(half.signature_defs)
        == {
            "serving_default",
            "regress_x_to_y",
            "regress_x_to_y2",
            "regress_x2_to_y3",
            "classify_x_to_y",
        }
    )
    # Metadata tell what the file says; requests may send any shape that the operators take.
    assert [dim.size for dim in half.signature_defs["serving_default"].inputs["x"].tensor_shape.dim] == [-1, 1]
    assert half.signatures["serving_default"].inputs["x"].shape is None


def test_answers_of_all_signatures(half):
    assert ask(half, 3.0) == 3.5
    examples = strings(example(x=4, x2=6), example(x=1))
    for name, output, expected in (
        ("regress_x_to_y", "outputs", [[4], [2.5]]),
        ("regress_x_to_y2", "outputs", [[5], [3.5]]),
        ("classify_x_to_y", "scores", [[4], [2.5]]),
    ):
        np.testing.assert_array_equal(half.run(name, {"inputs": examples}, [output])[output], expected)
    outputs = half.run("regress_x2_to_y3", {"inputs": np.float32([[6]])}, ["outputs"])
    np.testing.assert_array_equal(outputs["outputs"], [[6]])


def test_shapes_that_tensorflow_serving_takes_are_taken(half):
    np.testing.assert_array_equal(half.run("serving_default", {"x": np.float32([2, 4])}, ["y"])["y"], [3, 4])
    assert half.run("serving_default", {"x": np.float32(2)}, ["y"])["y"].shape == ()


def test_strings_short_floats_and_values_without_dimensions(odd):
    outputs = odd.run(
        "serving_default",
        {"text": np.array(b"\xff\0", object), "short": np.float32([1.5, 3e38]), "number": np.int64(7)},
        ["text", "short", "number"],
    )
    assert outputs["text"].shape == () and outputs["text"].item() == b"\xff\0"
    assert outputs["short"].dtype == ml_dtypes.bfloat16 and outputs["short"][0] == 1.5
    assert outputs["number"].shape == () and outputs["number"] == 7
    inputs = {"text": strings(b"a", b"").reshape(2, 1), "short": np.float32([]), "number": np.int64(0)}
    outputs = odd.run("serving_default", inputs, ["text", "short"])
    assert outputs["text"].tolist() == [[b"a"], [b""]] and outputs["short"].shape == (0,)
    assert list(outputs) == ["text", "short"]


def test_an_operators_error_is_one_line_with_its_code(odd):
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        inputs = {"text": strings(), "short": np.float32([]), "number": np.int64(-1)}
        odd.run("serving_default", inputs, ["number"])
    code, message = explain(error.value)
    assert code.name == "INVALID_ARGUMENT" and "number below zero" in message and "\n" not in message


def test_an_unknown_signature(half):
    with pytest.raises(RequestError) as error:
        half.run("nothing", {}, [])
    assert error.value.code.name == "FAILED_PRECONDITION"
    assert error.value.message == 'Serving signature key "nothing" not found.'


def write_two_outputs(folder):
    """A model with an output that is never ready and one that is at once."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], name="x")
        # Counts to a number that it does not reach within a test.
        slow = tf.while_loop(lambda i: i < 2**40, lambda i: i + 1, [tf.cast(x[0], tf.int64)], name="slow")
        outputs = {"quick": tf.identity(2 * x, name="quick"), "slow": tf.identity(slow, name="slow_output")}
        infos = {name: v1.saved_model.build_tensor_info(tensor) for name, tensor in outputs.items()}
        definition = v1.saved_model.build_signature_def({"x": v1.saved_model.build_tensor_info(x)}, infos, "m")
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": definition})
        builder.save()
    return folder


def test_outputs_that_nobody_asks_for_are_not_computed_and_a_timeout_ends_a_run(tmp_path):
    servable = Servable(write_two_outputs(tmp_path / "1"), "two", 1, OPTIONS)
    outputs = servable.run("serving_default", {"x": np.float32([1])}, ["quick"], timeout=20)
    np.testing.assert_array_equal(outputs["quick"], [2])
    started = time.monotonic()
    with pytest.raises(tf.errors.DeadlineExceededError):
        servable.run("serving_default", {"x": np.float32([1])}, ["slow"], timeout=0.2)
    assert time.monotonic() - started < 15
    servable.close()


def test_choices_of_outputs_beyond_some_run_as_all(tmp_path, monkeypatch):
    servable = Servable(write_odd_dtypes(tmp_path / "1"), "odd", 1, OPTIONS)
    monkeypatch.setattr("serving.core.servable._MOST_CHOICES", 2)
    run, fetched = servable._session.run, []
    monkeypatch.setattr(servable._session, "run", lambda *words: fetched.append(len(words[1])) or run(*words))
    inputs = {"text": strings(b"a"), "short": np.float32([1]), "number": np.int64(3)}
    for outputs in (["text"], ["number"], ["short"], ["text", "number"], ["number"]):
        assert set(servable.run("serving_default", inputs, outputs)) == set(outputs)
    assert fetched == [1, 1, 3, 3, 1]
    servable.close()


def test_a_small_model_costs_less_than_a_third_of_a_millisecond(half):
    x = {"x": np.float32([[1]])}
    half.run("serving_default", x, ["y"])
    costs = []
    for _ in range(20):
        started = time.thread_time()
        for _ in range(20):
            half.run("serving_default", x, ["y"])
        costs.append((time.thread_time() - started) / 20)
    assert min(costs) < 0.0003


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda folder: shutil.rmtree(folder), FileNotFoundError, "no saved_model.pb in this folder"),
        (lambda folder: (folder / "saved_model.pb").unlink(), FileNotFoundError, "no saved_model.pb in this folder"),
        (lambda folder: (folder / "saved_model.pb").write_bytes(b"junk"), OSError, "Cannot parse file"),
        (lambda folder: shutil.rmtree(folder / "variables"), ValueError, "not a valid checkpoint"),
    ],
)
def test_a_folder_without_a_whole_model(tmp_path, half_plus_two, spoil, error, words):
    shutil.copytree(half_plus_two, tmp_path / "1")
    spoil(tmp_path / "1")
    with pytest.raises(error, match=words):
        Servable(tmp_path / "1", "m", 1, OPTIONS)


def test_a_model_without_the_tags(half_plus_two):
    with pytest.raises(RuntimeError, match="gpu"):
        Servable(half_plus_two, "m", 1, dataclasses.replace(OPTIONS, saved_model_tags=("serve", "gpu")))


def test_the_key_in_ml_metadata(tmp_path, half):
    assert half.mlmd_uuid is None
    servable = Servable(write_half_plus_two(tmp_path / "1", mlmd_uuid="test_mlmd_uuid\n"), "m", 1, OPTIONS)
    assert servable.mlmd_uuid == "test_mlmd_uuid"
    servable.close()


def test_options_of_sessions():
    config = session_config(OPTIONS)
    assert config.gpu_options.allow_growth and config.allow_soft_placement
    assert (config.intra_op_parallelism_threads, config.inter_op_parallelism_threads) == (0, 0)
    text = "intra_op_parallelism_threads: 7 inter_op_parallelism_threads: 5"
    options = dataclasses.replace(OPTIONS, intra_op_threads=2, gpu_memory_fraction=0.25, session_config_text=text)
    config = session_config(options)
    assert (config.intra_op_parallelism_threads, config.inter_op_parallelism_threads) == (2, 5)
    assert config.gpu_options.per_process_gpu_memory_fraction == 0.25 and not config.gpu_options.allow_growth
    with pytest.raises(ValueError, match="no ConfigProto"):
        session_config(dataclasses.replace(OPTIONS, session_config_text="threads: 2"))
