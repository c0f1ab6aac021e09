"""Requests that run as one, and what of it each of them notices: nothing."""

import dataclasses
import threading
import time

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.config_files import read_batching
from serving.core.batch_arrays import kind_of, merge, rows_of, split
from serving.core.batching import Batcher, BatchSettings, batch_settings
from serving.core.servable import Servable
from serving.errors import RequestError, StartError
from serving.options import ServerOptions
from serving.wire.protos import BatchingParameters, Example
from tests.serving.core.model_folders import wait_for


class Model:
    """Doubles x; counts its runs. A negative value fails the run, and `gate` holds it."""

    def __init__(self):
        self.sizes, self.gate = [], threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)

    def run(self, name, inputs, outputs, timeout=None):
        self.sizes.append(len(np.atleast_1d(inputs["x"])))
        self.entered.release()
        assert self.gate.wait(30)
        if (inputs["x"] < 0).any():
            raise ValueError("a value below zero")
        results = {"y": 2 * inputs["x"], "sum": inputs["x"].sum()}
        return {name: results[name] for name in outputs}


class Asking:
    """Requests in threads of their own."""

    def __init__(self, batcher):
        self._batcher = batcher
        self.answers, self._threads = {}, []

    def ask(self, key, x, outputs=("y",), timeout=None):
        def run():
            try:
                self.answers[key] = self._batcher.run("s", {"x": np.asarray(x, np.float32)}, list(outputs), timeout)
            except Exception as error:
                self.answers[key] = error

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def wait(self):
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()
        return self.answers


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def batching(model):
    """Makes a `Batcher` over the model."""
    made = []

    def make(**settings):
        made.append(Batcher(model.run, BatchSettings(**({"num_threads": 1} | settings))))
        return made[-1]

    yield make
    for batcher in made:
        batcher.close()


def hold(model, asking):
    """Lets a first request occupy the only thread, so that what follows waits."""
    model.gate.clear()
    asking.ask("first", [0])
    assert model.entered.acquire(timeout=20)


def waiting(batcher):
    return sum(len(batch.tasks) for queue in batcher._queues.values() for batch in queue)


def test_requests_that_wait_run_as_one(model, batching):
    batcher = batching(max_batch_size=8)
    asking = Asking(batcher)
    hold(model, asking)
    for number in range(4):
        asking.ask(number, [number, 10 * number])
    wait_for(lambda: waiting(batcher) == 4)
    model.gate.set()
    answers = asking.wait()
    assert model.sizes == [1, 8]
    for number in range(4):
        assert answers[number]["y"].tolist() == [2 * number, 20 * number]


def test_a_batch_waits_for_more_until_its_time_is_over_or_it_is_full(model, batching):
    batcher = batching(max_batch_size=2, timeout=60.0)
    asking = Asking(batcher)
    asking.ask(0, [1])
    wait_for(lambda: waiting(batcher) == 1)
    assert model.sizes == []
    asking.ask(1, [2])
    assert [answer["y"].tolist() for _, answer in sorted(asking.wait().items())] == [[2], [4]]
    assert model.sizes == [2]
    started = time.monotonic()
    assert batching(max_batch_size=2, timeout=0.05).run("s", {"x": np.float32([3])}, ["y"])["y"].tolist() == [6]
    assert time.monotonic() - started >= 0.05


def test_a_bad_request_fails_alone(model, batching):
    batcher = batching()
    asking = Asking(batcher)
    hold(model, asking)
    for number in (5, -1, 6, -2, 7):
        asking.ask(number, [number])
    wait_for(lambda: waiting(batcher) == 5)
    model.gate.set()
    answers = asking.wait()
    for number in (5, 6, 7):
        assert answers[number]["y"].tolist() == [2 * number]
    for number in (-1, -2):
        assert "a value below zero" in answers[number].message
    assert model.sizes == [1, 5, 1, 1, 1, 1, 1]


def test_different_outputs_or_sizes_do_not_meet(model, batching):
    batcher = batching(num_threads=2)
    asking = Asking(batcher)
    for number, (x, outputs) in enumerate(
        [([1], ["y"]), ([[1, 2]], ["y"]), ([[1, 2, 3]], ["y"]), ([1], ["y", "sum"]), ([1], ["sum"])]
    ):
        asking.ask(number, x, outputs)
    answers = asking.wait()
    assert [answers[number]["y"].tolist() for number in range(4)] == [[2], [[2, 4]], [[2, 4, 6]], [2]]
    assert answers[4] == {"sum": 1}


def test_outputs_that_cannot_be_cut_up_are_computed_for_each_request(model, batching):
    batcher = batching()
    for _ in range(2):
        asking = Asking(batcher)
        hold(model, asking)
        for number in (1, 2):
            asking.ask(number, [number], ["sum"])
        # The second time, such requests do not even wait for each other.
        wait_for(lambda: waiting(batcher) == 2 or len(model.sizes) == 7)
        model.gate.set()
        answers = asking.wait()
        assert (answers[1]["sum"], answers[2]["sum"]) == (1, 2)
    assert model.sizes == [1, 2, 1, 1, 1, 1, 1]


def test_padding_to_allowed_sizes_and_of_different_lengths(model, batching):
    batcher = batching(max_batch_size=8, allowed_batch_sizes=(4, 8), pad=True)
    assert batcher.run("s", {"x": np.float32([[1, 2]])}, ["y"])["y"].tolist() == [[2, 4]]
    assert model.sizes == [4] and model.entered.acquire(timeout=1)
    asking = Asking(batcher)
    hold(model, asking)
    asking.ask("short", [[1]])
    asking.ask("long", [[1, 2, 3], [4, 5, 6]])
    wait_for(lambda: waiting(batcher) == 2)
    model.gate.set()
    answers = asking.wait()
    assert model.sizes == [4, 4, 4]
    assert answers["short"]["y"].tolist() == [[2, 0, 0]]  # as in TensorFlow Serving, the padding is answered too
    assert answers["long"]["y"].tolist() == [[2, 4, 6], [8, 10, 12]]


def test_too_many_batches_and_too_large_requests_are_refused(model, batching):
    batcher = batching(max_batch_size=2, max_enqueued_batches=2)
    with pytest.raises(RequestError, match="Task size 3 is larger than maximum input batch size 2") as error:
        batcher.run("s", {"x": np.zeros(3, np.float32)}, ["y"])
    assert error.value.code.name == "INVALID_ARGUMENT"
    asking = Asking(batcher)
    hold(model, asking)
    for number in range(2):
        asking.ask(number, [number, number])
    wait_for(lambda: waiting(batcher) == 2)
    with pytest.raises(RequestError, match="The batch scheduling queue to which this task was submitted is full") as no:
        batcher.run("s", {"x": np.zeros(1, np.float32)}, ["y"])
    assert no.value.code.name == "UNAVAILABLE"
    model.gate.set()
    assert all(isinstance(answer, dict) for answer in asking.wait().values())


def test_who_waits_too_long_is_told_and_not_run(model, batching):
    batcher = batching()
    asking = Asking(batcher)
    hold(model, asking)
    asking.ask("late", [1, 2, 3], timeout=0.05)
    wait_for(lambda: "late" in asking.answers)
    assert asking.answers["late"].code.name == "DEADLINE_EXCEEDED"
    asking.ask("next", [4])
    model.gate.set()
    asking.wait()
    assert asking.answers["next"]["y"].tolist() == [8] and 3 not in model.sizes and 4 not in model.sizes


def test_what_has_no_rows_in_common_runs_by_itself(model, batching):
    batcher = batching(max_batch_size=2)
    assert batcher.run("s", {"x": np.float32(3)}, ["y"])["y"] == 6
    assert batcher.run("s", {"x": np.float32([])}, ["y"])["y"].tolist() == []
    inputs = {"x": np.float32([1, 2, 3]), "other": np.float32([1])}
    assert batcher.run("s", inputs, ["y"])["y"].tolist() == [2, 4, 6]


def test_its_threads_end_with_it():
    def running():
        return sum(thread.name == "model-batch" for thread in threading.enumerate())

    wait_for(lambda: not running())  # those of other tests
    batcher = Batcher(Model().run, BatchSettings(num_threads=3))
    assert running() == 3
    batcher.close()
    wait_for(lambda: not running())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(1, 3), st.booleans(), st.data())
def test_merging_and_splitting_give_every_request_its_own(counts, width, strings, data):
    def draw(rows):
        length = data.draw(st.integers(1, width))
        values = np.arange(rows * length).reshape(rows, length) + 1
        return values.astype(str).astype("S").astype(object) if strings else values.astype(np.float32)

    requests = [{"a": draw(rows), "b": draw(rows)} for rows in counts]
    assert [rows_of(request) for request in requests] == counts
    assert len({kind_of(request, pad=True) for request in requests}) == 1
    size = sum(counts) + data.draw(st.integers(0, 3))
    for request, result in zip(requests, split(merge(requests, size), counts, size), strict=True):
        for name, array in request.items():
            np.testing.assert_array_equal(result[name][:, : array.shape[1]], array)
            assert not result[name][:, array.shape[1] :].any()


def test_one_large_request_does_not_blow_up_the_small_ones():
    large = {"x": np.zeros((1, 2**20), np.float32)}
    assert merge([large] + 63 * [{"x": np.zeros((1, 1), np.float32)}], 64) is None
    assert merge(64 * [large], 64)["x"].nbytes == 2**28


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_batch_size { value: 0 }", "max_batch_size must be at least 1. Received: 0"),
        ("max_enqueued_batches { value: -1 }", "max_enqueued_batches must be at least 1"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: [4, 2, 8]", "must be monotonically increasing"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: [2, 4]", "last entry was 4; expected 8"),
    ],
)
def test_parameters_that_make_no_sense_are_told_before_anything_is_loaded(tmp_path, text, words):
    with pytest.raises(RequestError, match=words):
        BatchSettings.from_proto(text_format.Parse(text, BatchingParameters()))
    (tmp_path / "batching.txt").write_text(text)
    with pytest.raises(StartError, match=f"batching.txt: .*{words}"):
        read_batching(tmp_path / "batching.txt")


def test_parameters_of_the_server_and_of_a_version(tmp_path):
    text = """max_batch_size { value: 8 } batch_timeout_micros { value: 2500 } max_enqueued_batches { value: 3 }
        num_batch_threads { value: 2 } allowed_batch_sizes: 4 allowed_batch_sizes: 8 pad_variable_length_inputs: true"""
    common = ServerOptions(batching=text_format.Parse(text, BatchingParameters()))
    assert batch_settings(tmp_path, ServerOptions()) is None
    assert batch_settings(tmp_path, ServerOptions(batching=BatchingParameters())) == BatchSettings()
    expected = BatchSettings(8, 0.0025, 3, 2, (4, 8), True)
    own = dataclasses.replace(common, per_model_batching=True)
    assert batch_settings(tmp_path, common) == batch_settings(tmp_path, own) == expected
    (tmp_path / "batching_params.pbtxt").write_text("max_batch_size { value: 5 }")
    assert batch_settings(tmp_path, common) == expected
    assert batch_settings(tmp_path, own) == BatchSettings(max_batch_size=5)
    (tmp_path / "batching_params.pbtxt").write_text("size: 5")
    with pytest.raises(RequestError, match="batching_params.pbtxt: no BatchingParameters"):
        batch_settings(tmp_path, own)


def test_a_real_model_answers_as_without_batching_and_a_bad_example_fails_alone(half_plus_two):
    text = "max_batch_size { value: 64 } batch_timeout_micros { value: 20000 }"
    servable = Servable(half_plus_two, "m", 1, ServerOptions(batching=text_format.Parse(text, BatchingParameters())))
    answers = {}

    def ask(number):
        example = Example()
        if number % 5:  # else the feature is missing, which fails the operator that parses them all
            example.features.feature["x"].float_list.value.append(number)
        inputs = np.empty(1, object)
        inputs[0] = example.SerializeToString()
        try:
            answers[number] = servable.run("regress_x_to_y", {"inputs": inputs}, ["outputs"])["outputs"].tolist()
        except RequestError as error:
            answers[number] = error.code.name

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: [[number / 2 + 2]] if number % 5 else "INVALID_ARGUMENT" for number in range(12)}
    servable.close()
