"""How often failed loads are tried again, and the thread that does it."""

import time

import pytest

from serving.core.manager import AVAILABLE, END
from serving.core.polling import Polling
from serving.core.tries import NEVER, Tries
from serving.errors import invalid_argument
from tests.serving.core.model_folders import wait_for

ERROR = invalid_argument("no good")


def fail(tries, identity="a"):
    """One load that fails; whether it was due."""
    attempt = tries.begin("m", 1, identity)
    if attempt is None:
        return False
    assert tries.begin("m", 1, identity) is None  # it runs
    tries.note_failure(attempt, ERROR)
    attempt.loading = False
    return True


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_a_load_is_tried_again_so_often_and_anew_with_other_files(retries):
    tries = Tries(retries, pause=0)
    for identity in ("a", "b"):
        assert [fail(tries, identity) for _ in range(retries + 3)] == (retries + 1) * [True] + 2 * [False]
        assert tries.next_due("m") == NEVER
        message = f"no good; it was tried {retries + 1} times, and is tried again when its files change"
        assert tries.state("m", 1, loaded=False).error_message == message


def test_between_two_tries_there_is_the_pause():
    tries = Tries(5, pause=60)
    assert fail(tries) and not fail(tries)
    assert 50 < tries.next_due("m") - time.monotonic() <= 60
    state = tries.state("m", 1, loaded=False)
    assert (state.state, state.error_code) == (END, 3)
    assert state.error_message == "no good; it is tried again in 60 s, 5 more times, and when its files change"
    assert tries.state("m", 1, loaded=True).state == AVAILABLE
    assert tries.state("m", 1, loaded=False, wanted=False).error_message == "no good"
    assert tries.failed("m") == {1}
    assert tries.forget("m", 1) and not tries.forget("m", 1) and tries.failed("m") == set()


def test_versions_that_are_gone_are_forgotten_but_not_while_they_load():
    tries = Tries(5, pause=0)
    fail(tries)
    running = tries.begin("m", 2, "a")
    tries.keep("m", ())
    assert tries.failed("m") == set() and tries.begin("m", 2, "b") is None
    running.loading = False
    tries.keep("m", ())
    assert tries.begin("m", 2, "a") is not running


class Watch:
    """A `Polling` whose looks and retries are counted; both may raise."""

    def __init__(self, seconds, error=None):
        self.looks = self.retries = 0
        self.due, self.error = NEVER, error
        self.polling = Polling(seconds, self.look, self.retry, lambda: self.due)

    def look(self):
        self.looks += 1
        if self.error:
            raise self.error

    def retry(self):
        self.retries += 1
        self.due = NEVER
        if self.error:
            raise self.error


@pytest.mark.parametrize("error", [None, ValueError("unforeseen"), OSError(5, "no disk")])
def test_looks_follow_each_other_whatever_they_raise(error):
    watch = Watch(0.001, error)
    watch.polling.start(at_once=False)
    wait_for(lambda: watch.looks >= 3)
    watch.polling.stop()
    looks = watch.looks
    watch.polling.start(at_once=True)  # what is stopped stays so
    wait_for(lambda: not watch.polling._thread.is_alive())
    assert watch.looks == looks


def test_without_an_interval_there_is_one_look_and_retries_still_come():
    watch = Watch(NEVER)
    watch.polling.start(at_once=True)
    wait_for(lambda: watch.looks == 1)
    for count in (1, 2):
        watch.due = time.monotonic() + 0.02
        watch.polling.wake()
        wait_for(lambda count=count: watch.retries == count)
    watch.polling.stop()
    assert watch.looks == 1
