"""Recorded requests of all kinds run before a version is served; one that fails is told, and nothing is served."""

import dataclasses
import shutil

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.core.loading import load_servable
from serving.core.manager import END
from serving.core.photo_cache import PhotoCache
from serving.core.servable import Servable
from serving.core.warm_up import MOST_RECORDS, WARM_UP_FILE, warm_up
from serving.errors import RequestError
from tests.serving.core.model_folders import OPTIONS, Watched, publish

# Written with TensorFlow Serving's own messages, as the tools of others write them.
Log = prediction_log_pb2.PredictionLog


def fill_examples(request_input, *values):
    for value in values:
        example = request_input.example_list.examples.add()
        example.features.feature["x"].float_list.value.append(value)


def predict_log(*, x=1.0, name="x", dtype=np.float32, output_filter=()):
    log = Log()
    request = log.predict_log.request
    request.model_spec.name = "half"
    request.inputs[name].CopyFrom(tf.make_tensor_proto(np.array([[x]], dtype)))
    request.output_filter.extend(output_filter)
    return log


def classify_log():
    log = Log()
    log.classify_log.request.model_spec.signature_name = "classify_x_to_y"
    fill_examples(log.classify_log.request.input, 1.0, 2.0)
    return log


def regress_log(signature="regress_x_to_y2"):
    log = Log()
    log.regress_log.request.model_spec.signature_name = signature
    fill_examples(log.regress_log.request.input, 3.0)
    return log


def multi_inference_log():
    log = Log()
    request = log.multi_inference_log.request
    fill_examples(request.input, 5.0)
    for signature in ("regress_x_to_y", "classify_x_to_y"):
        request.tasks.add().model_spec.signature_name = signature
    return log


def session_run_log():
    log = Log()
    log.session_run_log.request.fetch.append("y:0")
    return log


def record(folder, *logs):
    path = folder / WARM_UP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log if isinstance(log, bytes) else log.SerializeToString())
    return path


@pytest.fixture
def half(tmp_path, half_plus_two):
    """A servable in a folder of its own, which writes down which signatures are run with which inputs."""
    servable = Servable(shutil.copytree(half_plus_two, tmp_path / "1"), "half", 1, OPTIONS)
    run, servable.runs = servable.run, []

    def noting(name, inputs, outputs, timeout=None):
        servable.runs.append((name, {key: len(array) for key, array in inputs.items()}, outputs))
        return run(name, inputs, outputs, timeout)

    servable.run = noting
    yield servable
    servable.close()


def test_all_kinds_of_requests_are_run(half):
    logs = [predict_log(), classify_log(), regress_log(), multi_inference_log(), predict_log(output_filter=["y"])]
    record(half.folder, *logs)
    assert warm_up(half) == 5
    assert half.runs == [
        ("serving_default", {"x": 1}, ["y"]),
        ("classify_x_to_y", {"inputs": 2}, ["scores"]),
        ("regress_x_to_y2", {"inputs": 1}, ["outputs"]),
        ("regress_x_to_y", {"inputs": 1}, ["outputs"]),
        ("classify_x_to_y", {"inputs": 1}, ["scores"]),
        ("serving_default", {"x": 1}, ["y"]),
    ]


def test_each_request_is_run_as_often_as_the_option_says(half):
    record(half.folder, predict_log(), classify_log())
    assert warm_up(half, iterations=3) == 2
    assert [name for name, _, _ in half.runs] == 3 * ["serving_default"] + 3 * ["classify_x_to_y"]


def test_runs_of_a_session_are_passed_over_with_a_word(half, caplog):
    record(half.folder, session_run_log(), predict_log(), session_run_log())
    assert warm_up(half) == 1
    assert "2 records are no request of a kind that can be run" in caplog.text


def test_a_model_without_recorded_requests(half):
    assert warm_up(half) == 0 and half.runs == []


class Halves(tf.Module):
    """A photo's bytes and sentences, whole or by way of a feature; the second half can give more than is wanted."""

    def _features(self, photos):
        return tf.cast(tf.strings.length(photos), tf.float32)

    def _answers(self, feature, sentences):
        score = feature + tf.cast(tf.strings.length(sentences), tf.float32)
        return {"score": score, "logits": 2 * score}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def encode_photo(self, image_bytes):
        return {"feature": self._features(image_bytes)}

    @tf.function(input_signature=[tf.TensorSpec([1], name="feature"), tf.TensorSpec([None], tf.string, "expression")])
    def segment_encoded(self, feature, expression):
        return self._answers(feature, expression)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, n) for n in ("image_bytes", "expression")])
    def segment_expressions(self, image_bytes, expression):
        return {"score": self._answers(self._features(image_bytes), expression)["score"]}


def test_requests_find_everything_run_before(tmp_path, monkeypatch):
    """The first run of each choice of outputs costs seconds; photos are asked about by way of the two halves."""
    model, folder = Halves(), tmp_path / "1"
    names = ("encode_photo", "segment_encoded", "segment_expressions")
    tf.saved_model.save(model, str(folder), signatures={name: getattr(model, name) for name in names})
    log = Log()
    log.predict_log.request.model_spec.signature_name = "segment_expressions"
    question = {"image_bytes": np.array([b"photo"], object), "expression": np.array([b"dog", b"left dog"], object)}
    for name, values in question.items():
        log.predict_log.request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    record(folder, log)
    ran, run = [], Servable.run

    def noting(servable, name, inputs, outputs, timeout=None):
        ran.append((name, tuple(outputs), tuple((key, np.shape(array)) for key, array in inputs.items())))
        return run(servable, name, inputs, outputs, timeout)

    monkeypatch.setattr(Servable, "run", noting)
    servable = load_servable(folder, "halves", 1, OPTIONS)
    try:
        before = set(ran)
        ran.clear()
        answer = PhotoCache(OPTIONS.photo_cache_bytes).run(servable, "segment_expressions", question, ["score"])
    finally:
        servable.close()
    np.testing.assert_array_equal(answer["score"], [8, 13])
    assert [name for name, _, _ in ran] == ["encode_photo", "segment_encoded"] and set(ran) <= before


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (predict_log(name="z"), "warm-up record 2 of .*: input tensor alias not found in signature: z"),
        (predict_log(dtype=np.int32), 'warm-up record 2 of .*: input "x" expects float but int32 is provided'),
        (regress_log("nothing"), 'Serving signature key "nothing" not found'),
        (b"\x0a\xff", "Failed to parse warmup record"),
        (Log(regress_log={"request": {}}), "Input is empty"),
    ],
)
def test_a_request_that_fails_is_named(half, log, words):
    record(half.folder, predict_log(), log)
    with pytest.raises(RequestError, match=words):
        warm_up(half)


def test_a_damaged_file_is_named(half):
    path = record(half.folder, predict_log())
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    with pytest.raises(RequestError, match="warm-up record 1 of") as error:
        warm_up(half)
    assert error.value.code == grpc.StatusCode.DATA_LOSS


def test_more_records_than_tensorflow_serving_takes(half):
    record(half.folder, *[session_run_log()] * (MOST_RECORDS + 1))
    with pytest.raises(RequestError, match=f"exceeds the maximum \\({MOST_RECORDS}\\)"):
        warm_up(half)


def test_a_version_whose_requests_fail_is_not_served_unless_warm_up_is_off(base, half_plus_two):
    folder = publish(half_plus_two, base, 1)
    record(folder, predict_log(name="z"))
    with Watched(base) as watched:
        watched.manager.refresh()
        state = watched.manager.states("m")[1]
        assert (state.state, state.error_code) == (END, grpc.StatusCode.INVALID_ARGUMENT.value[0])
        assert "input tensor alias not found" in state.error_message
    with Watched(base, dataclasses.replace(OPTIONS, enable_model_warmup=False)) as watched:
        watched.manager.refresh()
        assert watched.served() == 1
