"""The end of the REST server: what runs is answered, and who cannot be answered is told."""

import concurrent.futures
import contextlib
import socket
import threading
import time

import pytest

from serving.errors import StartError
from serving.options import ServerOptions
from serving.transport import rest
from serving.transport.rest import RestServer
from tests.serving.transport.rest_house import ANSWER, GOOD, URL, Gate, Wire, open_rest_house, request_bytes, until


def stop_in_a_thread(house, grace):
    thread = threading.Thread(target=house.rest.stop, args=(grace,))
    thread.start()
    return thread


def test_running_requests_are_answered_and_told_to_close(half_folder):
    gate = Gate()
    with (
        open_rest_house({"half": half_folder}, run=gate, rest_threads=16) as opened,
        contextlib.ExitStack() as open_wires,
    ):
        wires = [open_wires.enter_context(Wire(opened.port)) for _ in range(16)]
        for wire in wires:
            wire.send(request_bytes(URL, GOOD))
        until(lambda: gate.came == 8)  # 2 rows each, and 16 rows run at a time
        stopping = stop_in_a_thread(opened, 60)
        until(lambda: not accepts(opened.port))
        gate.opened.set()
        answers = [wire.answer() for wire in wires]
        assert [answer.json for answer in answers] == [ANSWER] * 16
        assert {answer.headers["connection"] for answer in answers} == {"close"}
        stopping.join(60)
        assert not stopping.is_alive()
        assert [wire.answer() for wire in wires] == [None] * 16


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def test_no_client_is_cut_while_the_server_drains_and_ends(half_folder):
    """32 clients ask without pause, on kept connections, over a lame duck and an end."""
    with open_rest_house({"half": half_folder}) as opened:
        ending, asked = threading.Event(), threading.Semaphore(0)

        def ask(_):
            answered = 0
            while True:
                try:
                    wire = Wire(opened.port)
                except ConnectionError:  # nobody listens any more
                    assert ending.is_set()
                    return answered
                with wire:
                    closing, first = False, True
                    while not closing:
                        try:
                            answer = wire.call(URL, GOOD)
                        except ConnectionResetError:
                            # The kernel resets who came in the moment of closing: nothing of his was taken.
                            assert ending.is_set() and first
                            return answered
                        first = False
                        assert answer is not None and answer.json == ANSWER
                        answered += 1
                        asked.release()
                        closing = answer.headers.get("connection") == "close"

        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            results = [pool.submit(ask, number) for number in range(32)]
            for _ in range(200):
                assert asked.acquire(timeout=60)
            opened.rest.drain()
            for _ in range(200):
                assert asked.acquire(timeout=60)
            ending.set()
            started = time.monotonic()
            opened.rest.stop(30)
            assert time.monotonic() - started < 20
            assert sum(result.result(60) for result in results) >= 400
        assert {event.code.name for event in opened.ended} == {"OK"}


def test_a_kept_connection_is_closed_once_it_is_quiet(half_folder):
    with open_rest_house({"half": half_folder}) as opened, Wire(opened.port) as wire:
        assert wire.call(URL, GOOD).json == ANSWER
        started = time.monotonic()
        opened.rest.stop(30)
        assert time.monotonic() - started < 15
        assert wire.answer() is None


def test_what_hangs_is_answered_when_the_grace_is_over(half_folder):
    gate = Gate()
    with open_rest_house({"half": half_folder}, run=gate) as opened:
        with Wire(opened.port) as wire:
            wire.send(request_bytes(URL, GOOD))
            until(lambda: gate.came == 1)
            started = time.monotonic()
            opened.rest.stop(0.2)
            assert time.monotonic() - started < 15
            answer = wire.answer()
            assert answer.code == 503 and answer.json == {"error": "the server ends"}
        gate.opened.set()


@pytest.mark.parametrize("path", [URL, "/v1/nothing"])
def test_who_has_not_sent_all_is_answered_when_the_grace_is_over(half_folder, path, monkeypatch):
    monkeypatch.setattr(rest, "_LAST_SECONDS", 20)  # which nobody has to wait for
    with open_rest_house({"half": half_folder}) as opened:
        with Wire(opened.port) as wire:
            wire.send(request_bytes(path, GOOD)[:-5])
            until(lambda: opened.rest._app.active == 1)
            started = time.monotonic()
            opened.rest.stop(0.2)
            assert time.monotonic() - started < 15
            assert wire.answer().code == (503 if path == URL else 400)


def test_nobody_is_let_in_before_the_start():
    server = RestServer(None, ServerOptions(host="127.0.0.1", rest_port=0))
    assert server.port and not accepts(server.port)
    server.stop()
    server.stop()


def test_a_port_in_use_is_said():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            RestServer(None, ServerOptions(host="127.0.0.1", rest_port=port)).start()
