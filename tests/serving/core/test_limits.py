"""Who is let in, who waits, who is sent away, and that nothing of it leaks."""

import threading
import time

import grpc
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from serving.core.call import Call
from serving.core.limits import Admission, Cost, Limits
from serving.errors import RequestError
from tests.serving.core.model_folders import wait_for

LIMITS = Limits(max_predictions=4, max_rows=100, max_bytes=1000, max_pixels=5000, rows_running=3)


class Request:
    """A request in a thread of its own, which runs until it is told to end."""

    def __init__(self, admission, cost, call=None):
        self.call = call or Call()
        self.running, self.end = threading.Event(), threading.Event()
        self.error = None
        self._thread = threading.Thread(target=self._run, args=(admission, cost), daemon=True)
        self._thread.start()

    def _run(self, admission, cost):
        try:
            with admission.admit(cost, self.call):
                self.running.set()
                self.end.wait(30)
        except RequestError as error:
            self.error = error

    def finish(self):
        self.end.set()
        self.join()

    def join(self):
        self._thread.join(20)
        assert not self._thread.is_alive()

    def code(self):
        self.join()
        return self.error and self.error.code


def refused(admission, cost, words):
    with pytest.raises(RequestError, match=words) as error, admission.admit(cost, Call()):
        pass
    assert error.value.code == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_requests_run_beside_each_other_while_there_are_rows():
    admission = Admission(LIMITS)
    first, second = (Request(admission, Cost(rows=rows)) for rows in (1, 2))
    wait_for(lambda: first.running.is_set() and second.running.is_set())
    third = Request(admission, Cost(rows=1))
    wait_for(lambda: admission.waiting == 1)
    assert not third.running.is_set() and not admission.idle.is_set()
    first.finish()
    wait_for(third.running.is_set)
    for request in (second, third):
        request.finish()
    assert admission.idle.is_set() and admission.rows == 0 and admission.predictions == 0


def test_turns_come_in_the_order_of_arrival_and_a_large_request_is_not_passed_by():
    admission = Admission(LIMITS)
    running = Request(admission, Cost(rows=2))
    wait_for(running.running.is_set)
    large = Request(admission, Cost(rows=90))  # more than ever run at a time: it needs the graph for itself
    wait_for(lambda: admission.waiting == 1)
    small = Request(admission, Cost(rows=1))  # there would be room for it now
    wait_for(lambda: admission.waiting == 2)
    assert not small.running.is_set()
    running.finish()
    wait_for(large.running.is_set)
    assert not small.running.is_set()
    large.finish()
    wait_for(small.running.is_set)
    small.finish()


def test_more_requests_rows_pixels_or_bytes_than_there_is_room_for_are_refused_at_once():
    admission = Admission(LIMITS)
    refused(admission, Cost(rows=101), "101 rows in one request, more than the 100 allowed")
    refused(admission, Cost(pixels=5001), "5001 pixels, counted once for each row asked of them, more than the 5000")
    refused(admission, Cost(bytes=1001), "1001 more, of 1000 allowed")
    refused(admission, Cost(sentence_bytes=2**20 + 1), "1048577 bytes, more than the 1048576 allowed")
    held = Request(admission, Cost(rows=3, bytes=600, pixels=3000))
    wait_for(held.running.is_set)
    refused(admission, Cost(pixels=2001), "try again later")
    refused(admission, Cost(bytes=401), "try again later")
    others = [Request(admission, Cost(bytes=100, pixels=600)) for _ in range(3)]
    wait_for(lambda: admission.predictions == 4)
    refused(admission, Cost(), "4 predictions are being made, the most that this server allows; try again later")
    for request in (held, *others):
        request.finish()
    with admission.admit(Cost(rows=100, bytes=1000, pixels=5000), Call()):
        pass


def test_bytes_are_held_from_before_a_message_is_parsed():
    admission = Admission(LIMITS)
    with admission.receiving(700):
        assert not admission.idle.is_set()
        with pytest.raises(RequestError, match="requests of 700 bytes are in work") as error, admission.receiving(301):
            pass
        assert error.value.code == grpc.StatusCode.RESOURCE_EXHAUSTED
        refused(admission, Cost(bytes=301), "try again later")
        with admission.admit(Cost(bytes=300), Call()):
            pass
    assert admission.idle.is_set()
    with admission.receiving(1000):
        pass


def test_a_cancelled_request_leaves_the_queue_and_frees_its_room_at_once():
    admission = Admission(LIMITS)
    running = Request(admission, Cost(rows=3))
    wait_for(running.running.is_set)
    waiting = [Request(admission, Cost(rows=3, bytes=300)) for _ in range(3)]
    wait_for(lambda: admission.waiting == 3)
    refused(admission, Cost(), "4 predictions")
    waiting[0].call.cancel()
    assert waiting[0].code() == grpc.StatusCode.CANCELLED
    assert admission.waiting == 2 and admission.predictions == 3
    next_one = Request(admission, Cost(bytes=400))  # its place and its bytes are free, while nothing has run
    wait_for(lambda: admission.waiting == 3)
    running.finish()
    for request in (*waiting[1:], next_one):
        wait_for(request.running.is_set)
        request.finish()
    assert not waiting[0].running.is_set()


def test_a_late_request_leaves_the_queue_at_its_deadline():
    admission = Admission(LIMITS)
    running = Request(admission, Cost(rows=3))
    wait_for(running.running.is_set)
    started = time.monotonic()
    late = Request(admission, Cost(rows=1), Call(timeout=0.1))
    assert late.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert 0.09 < time.monotonic() - started < 10
    assert admission.predictions == 1 and admission.waiting == 0 and not late.running.is_set()
    running.finish()


@pytest.mark.parametrize("code", ["CANCELLED", "DEADLINE_EXCEEDED"])
def test_who_is_gone_or_late_on_arrival_does_not_run(code):
    admission = Admission(LIMITS)
    call = Call(timeout=0 if code == "DEADLINE_EXCEEDED" else None)
    if code == "CANCELLED":
        call.cancel()
    gone = Request(admission, Cost(), call)
    assert gone.code().name == code and not gone.running.is_set() and admission.idle.is_set()


def test_one_that_waits_for_many_rows_and_leaves_lets_the_smaller_ones_behind_it_in():
    admission = Admission(LIMITS)
    running = Request(admission, Cost(rows=2))
    wait_for(running.running.is_set)
    large = Request(admission, Cost(rows=3))
    wait_for(lambda: admission.waiting == 1)
    small = Request(admission, Cost(rows=1))
    wait_for(lambda: admission.waiting == 2)
    large.call.cancel()
    wait_for(small.running.is_set)
    for request in (running, small):
        request.finish()


def test_an_error_inside_gives_everything_back():
    admission = Admission(LIMITS)
    with pytest.raises(ZeroDivisionError), admission.receiving(10), admission.admit(Cost(3, 30, 300), Call()):
        raise ZeroDivisionError
    assert admission.idle.is_set() and admission.rows == admission.predictions == 0
    with admission.receiving(1000):
        pass


@pytest.mark.parametrize("name", ["max_predictions", "max_rows", "max_bytes", "max_pixels", "rows_running"])
def test_limits_of_nothing_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1. Received: 0"):
        Limits(**{name: 0})


class Coming(RuleBasedStateMachine):
    """Requests come, end, are cancelled; the bounds hold and turns come in order at every moment."""

    def __init__(self):
        super().__init__()
        self.admission = Admission(LIMITS)
        self.inside = []  # (rows, Request) in the order in which they came

    @rule(rows=st.integers(1, 5))
    def come(self, rows):
        request = Request(self.admission, Cost(rows=rows))
        if len(self.inside) == LIMITS.max_predictions:
            assert request.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        else:
            self.inside.append((rows, request))
            wait_for(lambda: self.admission.predictions == len(self.inside))

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def end(self, data):
        index = data.draw(st.integers(0, len(self.running()) - 1))
        request = self.running()[index]
        request.finish()
        self.inside = [entry for entry in self.inside if entry[1] is not request]

    @precondition(lambda self: len(self.inside) > len(self.running()))
    @rule(data=st.data())
    def cancel(self, data):
        waiting = [request for _, request in self.inside[len(self.running()) :]]
        request = waiting[data.draw(st.integers(0, len(waiting) - 1))]
        request.call.cancel()
        assert request.code() == grpc.StatusCode.CANCELLED
        self.inside = [entry for entry in self.inside if entry[1] is not request]

    def running(self):
        """Who must run now: from the first on, as many as there are rows for."""
        found, free = [], LIMITS.rows_running
        for rows, request in self.inside:
            free -= min(rows, LIMITS.rows_running)
            if free < 0:
                break
            found.append(request)
        return found

    @invariant()
    def the_first_ones_run(self):
        expected = self.running()
        for request in expected:
            wait_for(request.running.is_set)
        assert [request for _, request in self.inside if request.running.is_set()] == expected
        assert self.admission.rows <= LIMITS.rows_running
        assert self.admission.idle.is_set() == (not self.inside)

    def teardown(self):
        for _, request in self.inside:
            request.call.cancel()
            request.end.set()
        for _, request in self.inside:
            request.join()
        assert self.admission.idle.is_set() and self.admission.rows == 0


TestComing = Coming.TestCase
TestComing.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
