"""What is asked again, and what is not; over a real channel."""

import asyncio
import concurrent.futures
import itertools
import random
import socket
import time

import grpc
import hypothesis
import hypothesis.strategies as st
import pytest

from serving.client import NO_RETRIES, AsyncClient, Client, Retries, ServingError
from tests.serving.client.scripted import scripted_server

CODES = [code for code in grpc.StatusCode if code != grpc.StatusCode.OK]
AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED)
FAST = Retries(attempts=4, first_seconds=0.01)


def ask(kind, target, retries=FAST, timeout=20):
    """Status as the sync or the async client asks for it."""
    if kind == "sync":
        with Client(target, retries=retries) as client:
            return client.status(timeout)

    async def run():
        async with AsyncClient(target, retries=retries) as client:
            return await client.status(timeout)

    return asyncio.run(run())


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_only_what_may_come_right_is_asked_again(code, kind):
    with scripted_server(code) as (target, server):
        if code in AGAIN:
            assert list(ask(kind, target)) == [5]
        else:
            with pytest.raises(ServingError, match="scripted") as error:
                ask(kind, target)
            assert error.value.code == code
            assert "asked" not in str(error.value)
        assert len(server.times_left) == (2 if code in AGAIN else 1)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_attempts_are_bounded_and_counted_in_the_message(kind):
    with scripted_server(*[grpc.StatusCode.UNAVAILABLE] * 9) as (target, server):
        with pytest.raises(ServingError, match=rf"^{target}: the server cannot be reached: .*\(asked 4 times\)$"):
            ask(kind, target)
        assert len(server.times_left) == 4
        with pytest.raises(ServingError, match="scripted$"):
            ask(kind, target, NO_RETRIES)
        assert len(server.times_left) == 5


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_all_attempts_together_keep_the_deadline(kind):
    patient = Retries(attempts=50, first_seconds=0.2, longest_seconds=0.4)
    with scripted_server(*[grpc.StatusCode.UNAVAILABLE] * 50) as (target, server):
        started = time.monotonic()
        with pytest.raises(ServingError, match="the server cannot be reached: scripted") as error:
            ask(kind, target, patient, timeout=1.0)
        assert time.monotonic() - started < 5
        # The last attempt may have been cut off by the deadline; why the others failed is said all the same.
        assert error.value.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        assert 2 <= len(server.times_left) <= 10
        assert all(later < earlier for earlier, later in itertools.pairwise(server.times_left))


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_server_that_comes_back_is_found(kind):
    with scripted_server() as (target, _):
        pass
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, kind, target, Retries(attempts=100, first_seconds=0.2, longest_seconds=0.2), 20)
        with pytest.raises(concurrent.futures.TimeoutError):
            waiting.result(0.5)  # it asks, and nobody is there
        with scripted_server(address=target):
            assert list(waiting.result(20)) == [5]


def test_a_message_that_is_too_large_is_not_sent_again():
    full = (grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVER: Received message larger than max (9 vs. 4)", ())
    with scripted_server(full) as (target, server):
        with pytest.raises(ServingError, match="larger than max"):
            ask("sync", target)
        assert len(server.times_left) == 1


def test_a_client_that_was_closed_does_not_ask_again():
    with socket.create_server(("127.0.0.1", 0)) as listener, concurrent.futures.ThreadPoolExecutor(1) as pool:
        with Client(f"127.0.0.1:{listener.getsockname()[1]}") as client:
            asking = pool.submit(client.status, timeout=20)
            with listener.accept()[0]:  # the request is on its way to somebody who never answers
                client.close()
                with pytest.raises(ServingError, match="broken off: Channel closed") as error:
                    asking.result(20)
        assert error.value.code == grpc.StatusCode.CANCELLED


@pytest.mark.parametrize("told", ["-1", "never", "30"])
def test_the_servers_own_word_on_asking_again_counts(told):
    full = (grpc.StatusCode.RESOURCE_EXHAUSTED, "no room", (("grpc-retry-pushback-ms", told),))
    with scripted_server(full) as (target, server):
        if told == "30":
            assert list(ask("sync", target, Retries(first_seconds=4, longest_seconds=4), timeout=3)) == [5]
            return
        with pytest.raises(ServingError, match="no room"):
            ask("sync", target)
        assert len(server.times_left) == 1


class Failed(grpc.RpcError):
    """What gRPC raises, for the arithmetic of waiting alone."""

    def code(self):
        return grpc.StatusCode.UNAVAILABLE

    def details(self):
        return "gone"

    def trailing_metadata(self):
        return ()


@hypothesis.given(
    attempts=st.integers(1, 8),
    first=st.floats(0.001, 1),
    longest=st.floats(1, 10),
    seed=st.integers(0, 9),
)
def test_waits_double_up_to_a_limit_and_differ(attempts, first, longest, seed):
    random.seed(seed)
    running = Retries(attempts, first, longest).begin(timeout=1000)
    waits = []
    with pytest.raises(ServingError):
        while True:
            waits.append(running.wait_after("target", Failed()))
    assert len(waits) == attempts - 1
    for number, wait in enumerate(waits):
        limit = min(longest, first * 2**number)
        assert limit / 2 <= wait <= limit
    assert len(set(waits)) == len(waits)


@pytest.mark.parametrize("arguments", [{"attempts": 0}, {"first_seconds": -1}, {"first_seconds": 9}])
def test_wrong_numbers_are_refused(arguments):
    with pytest.raises(ValueError, match="Received"):
        Retries(**arguments)
