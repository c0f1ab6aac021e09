"""`python -m serving load-test`: what it measures, on servers whose slowness is known."""

import collections
import json
import os
import signal
import threading
import time

import numpy as np
import pytest
from PIL import Image

from serving.__main__ import main
from serving.client import Client
from serving.client.photos import decode_upright
from serving.errors import UsageError
from serving.load.asking import Questions, draw_photo
from serving.load.picture import draw_report
from serving.load.plan import LoadPlan
from serving.load.report import summarize, to_text
from serving.load.run import run_plan
from tests.small_models import photo_bytes
from tests.turned import flat_scene, turned_photo


class Counter:
    """Stands for a server: each request holds one of `slots` for some seconds."""

    def __init__(self, seconds, slots=1000, code="OK"):
        self.seconds, self.code = seconds, code
        self.running = self.most = self.asked = 0
        self._slots, self._lock = threading.Semaphore(slots), threading.Lock()

    def __call__(self, index):
        with self._lock:
            self.running, self.asked = self.running + 1, self.asked + 1
            self.most = max(self.most, self.running)
        with self._slots:
            time.sleep(self.seconds(index) if callable(self.seconds) else self.seconds)
        with self._lock:
            self.running -= 1
        return self.code(index) if callable(self.code) else self.code


def test_a_closed_loop_keeps_as_many_on_their_way_as_there_are_clients():
    ask = Counter(0.02)
    plan = LoadPlan(seconds=1, warm_up_seconds=0.2, clients=5)
    summary = summarize(run_plan(ask, plan), plan)
    assert ask.most == 5
    assert summary["answered"] == summary["requests"] < ask.asked  # the warm-up was asked and not counted
    assert 60 < summary["per_second"] <= 250
    assert summary["latency_ms"]["p50"] >= 20
    assert (summary["errors"], summary["unsent"], summary["loop"]) == ({}, 0, "closed")


def test_an_open_loop_asks_at_its_own_moments_however_slow_the_answers():
    plan = LoadPlan(seconds=1.5, warm_up_seconds=0, clients=64, rate=100)
    samples = run_plan(Counter(0.2), plan)
    np.testing.assert_allclose(samples.due, plan.arrivals(), atol=1e-9)
    assert np.median(samples.sent - samples.due) < 0.1
    assert samples.unsent == 0


def test_waiting_for_a_slow_server_counts_from_the_moment_that_was_due():
    # One at a time for 20 ms each, asked 50 times a second, stands still for half a second: what came meanwhile waits.
    stall = Counter(lambda index: 0.5 if index == 10 else 0.005, slots=1)
    plan = LoadPlan(seconds=1.5, warm_up_seconds=0, clients=1, rate=50)
    samples = run_plan(stall, plan)
    behind = samples.ended - samples.due
    assert np.sum(behind > 0.2) >= 8  # a closed loop would have seen one
    assert np.sum(samples.ended - samples.sent > 0.2) < np.sum(behind > 0.2) / 2
    assert summarize(samples, plan)["latency_ms"]["p90"] > 150


def test_requests_for_which_no_client_was_free_are_counted():
    plan = LoadPlan(seconds=0.5, warm_up_seconds=0, clients=2, rate=100)
    samples = run_plan(Counter(0.2), plan)
    assert len(samples.codes) + samples.unsent == len(plan.arrivals())
    assert samples.unsent > 20
    assert "not sent in time" in to_text(summarize(samples, plan))


def test_the_last_request_is_sent_where_a_client_was_free():
    class AtTheEnd(LoadPlan):
        def arrivals(self):
            return np.array([self.seconds - 1e-6])  # nobody wakes so exactly

    samples = run_plan(Counter(0.01), AtTheEnd(seconds=0.3, warm_up_seconds=0, clients=2, rate=1))
    assert (samples.codes, samples.unsent) == (["OK"], 0)


def test_errors_are_counted_by_code_and_are_no_latencies():
    ask = Counter(lambda index: 0.0 if index % 3 else 1.0, code=lambda index: "OK" if index % 3 else "UNAVAILABLE")
    plan = LoadPlan(seconds=30, warm_up_seconds=0, requests=9, clients=3)
    summary = summarize(run_plan(ask, plan), plan)
    assert (summary["requests"], summary["answered"], summary["errors"]) == (9, 6, {"UNAVAILABLE": 3})
    assert summary["latency_ms"]["max"] < 950  # the failed ones took a second and are no part of it
    assert "failed 3: UNAVAILABLE" in to_text(summary)


def test_nothing_answered_has_no_latency():
    plan = LoadPlan(seconds=5, warm_up_seconds=0, requests=3, clients=1)
    summary = summarize(run_plan(Counter(0, code="INTERNAL"), plan), plan)
    assert set(summary["latency_ms"].values()) == {None}
    assert summary["per_second"] == 0
    assert json.loads(json.dumps(summary)) == summary


@pytest.mark.parametrize("rate", [None, 1000.0])
def test_the_number_of_requests_is_a_limit(rate):
    ask = Counter(0.001)
    plan = LoadPlan(seconds=60, warm_up_seconds=0, requests=17, clients=4, rate=rate)
    started = time.monotonic()
    assert len(run_plan(ask, plan).codes) == 17
    assert time.monotonic() - started < 20


@pytest.fixture
def interruptible():
    """The keyboard's signal has its effect, also in a process that a shell started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("rate", [None, 200.0])
def test_what_was_measured_until_the_keyboard_ends_it_counts(rate, interruptible):
    def ask(index):
        if index == 10:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        return "OK"

    started = time.monotonic()
    samples = run_plan(ask, LoadPlan(seconds=60, warm_up_seconds=0, clients=2, rate=rate))
    assert time.monotonic() - started < 20
    assert 8 <= len(samples.codes) < 1000


def test_one_answer_can_be_drawn(tmp_path):
    plan = LoadPlan(seconds=5, warm_up_seconds=0, requests=1, clients=1)
    samples = run_plan(Counter(0.001), plan)
    draw_report(tmp_path / "a.png", samples, summarize(samples, plan), "one")
    with Image.open(tmp_path / "a.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10


def test_moments_are_poissons_and_the_same_for_a_seed():
    plan = LoadPlan(seconds=100, warm_up_seconds=0, rate=50)
    moments = plan.arrivals()
    gaps = np.diff(moments)
    assert abs(len(moments) - 5000) < 300
    assert abs(gaps.std() / gaps.mean() - 1) < 0.1
    np.testing.assert_array_equal(moments, plan.arrivals())
    assert not np.array_equal(moments[:10], LoadPlan(100, 0, rate=50, seed=1).arrivals()[:10])


@pytest.mark.parametrize(
    "wrong", [{"seconds": 0}, {"seconds": 1e5}, {"clients": 0}, {"clients": 257}, {"rate": 1e6}, {"requests": 0}]
)
def test_a_plan_is_bounded(wrong):
    with pytest.raises(UsageError, match=rf"^--{next(iter(wrong))} must be in .*Received"):
        LoadPlan(**wrong)
    with pytest.raises(UsageError, match="at most 1,000,000 requests"):
        LoadPlan(seconds=3600, rate=1000)


def test_photos_and_sentences_come_in_turn():
    questions = Questions([b"a", b"b", b"c"], ["one", "two"], per_photo=3)
    assert questions[0] == (b"a", ["one", "two", "one"])
    assert questions[1] == (b"b", ["two", "one", "two"])
    seen = collections.Counter(questions[index][0] for index in range(9))
    assert set(seen.values()) == {3}
    assert draw_photo(1) != draw_photo(2)


def test_new_photos_have_other_bytes_and_the_same_pixels():
    photos = [photo_bytes(), turned_photo(flat_scene(16, 24), 6, "PNG")]
    asked = [Questions(photos, ["one"], new_photos=True)[index][0] for index in range(4) for _ in range(2)]
    assert len(set(asked)) == 8  # of another run too
    for index, photo in enumerate(asked):
        np.testing.assert_array_equal(decode_upright(photo), decode_upright(photos[index // 2 % 2]))


@pytest.fixture
def photo(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(photo_bytes())
    return tmp_path / "photo.jpg"


def load_test(server, photo, *flags, rest=False):
    port = server.rest_port if rest else server.port
    words = ["--target", f"127.0.0.1:{port}", "--image", photo, "--seconds", 30, "--warm_up_seconds", 0, *flags]
    return main(["load-test", *map(str, words), *(["--rest"] if rest else [])])


@pytest.mark.parametrize("rest", [False, True])
@pytest.mark.parametrize("loop", [("--clients", 2), ("--rate", 50)])
def test_a_running_server_is_measured(server, photo, capsys, rest, loop):
    flags = ("--requests", 12, "--json", "--expressions_per_photo", 2, "--picture", photo.parent / "a.png")
    assert load_test(server, photo, *loop, *flags, rest=rest) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["requests"], found["answered"], found["errors"]) == (12, 12, {})
    assert found["transport"] == ("REST" if rest else "gRPC")
    latency = found["latency_ms"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p95"] <= latency["p99"] <= latency["max"]
    with Image.open(photo.parent / "a.png") as picture:
        assert picture.width > 1000


@pytest.mark.parametrize(("flags", "count"), [((), 6), (("--same_photos",), 1)])
def test_no_photo_has_been_encoded_before_unless_it_is_told(server, photo, monkeypatch, flags, count):
    seen, predict = [], Client.predict

    def noting(self, inputs, *rest):
        seen.append(inputs["image_bytes"][0])
        return predict(self, inputs, *rest)

    monkeypatch.setattr(Client, "predict", noting)
    assert load_test(server, photo, "--requests", 5, "--clients", 1, *flags) == 0
    assert len(seen) == 6  # the first tells whether there is a server
    assert len(set(seen)) == count


def test_the_report_is_for_people_without_json(server, photo, capsys):
    assert load_test(server, photo, "--requests", 3, "--clients", 1) == 0
    printed = capsys.readouterr().out
    assert "1 clients, closed loop: 3 requests" in printed
    assert "p99" in printed


@pytest.mark.parametrize(
    ("flags", "code", "line"),
    [
        (("--target", "10.1.2.3:8500"), 2, "is not on this machine; to load a server elsewhere say --allow_remote"),
        (("--target", "10.1.2.3:8500", "--rest"), 2, "is not on this machine"),
        (("--clients", 1000), 2, "--clients must be in 1..256. Received: 1000"),
        (("--clients", 1, "--rate", 1), 2, "give --clients (closed loop) or --rate (open loop), not both"),
        (("--expressions_per_photo", 0), 2, "--expressions_per_photo must be in 1..1024"),
        (("--image", "nowhere.jpg"), 2, "nowhere.jpg: cannot read the photo"),
        (("--expression", " "), 2, "an expression must not be empty"),
        (("--picture", "nowhere/a.png"), 2, "--picture nowhere/a.png: there is no folder nowhere"),
        (("--target", "127.0.0.1:9"), 1, "127.0.0.1:9: the server cannot be reached"),
        (("--target", "127.0.0.1:9", "--rest"), 1, "127.0.0.1:9: the server cannot be reached"),
        (("--target", "unix:/a", "--rest"), 2, "--target must be HOST:PORT. Received: 'unix:/a'"),
        (("--model_name", "other"), 1, "Servable not found for request: Latest(other)"),
    ],
)
def test_what_goes_wrong_is_one_line(server, photo, capsys, flags, code, line):
    assert load_test(server, photo, "--requests", 1, *flags) == code
    error = capsys.readouterr().err
    assert error.startswith("serving load-test: ")
    assert line in error
    assert error.count("\n") == 1


def test_a_model_that_is_not_there_is_told_over_rest_too(server, photo, capsys):
    assert load_test(server, photo, "--model_name", "other", rest=True) == 1
    assert "HTTP 404" in capsys.readouterr().err
