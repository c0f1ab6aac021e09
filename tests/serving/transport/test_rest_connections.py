"""Connections of REST clients: kept alive, chunked, zipped, many at a time, gone in the middle, badly behaved."""

import concurrent.futures
import contextlib
import gzip
import json
import logging
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest

from serving.core.limits import Limits
from serving.transport import rest_body, rest_protocol
from tests.serving.transport.rest_house import ANSWER, GOOD, URL, Gate, Wire, open_rest_house, request_bytes, until


@pytest.fixture(scope="module")
def house(half_folder):
    with open_rest_house({"half": half_folder}, Limits(max_predictions=64)) as opened:
        yield opened


@pytest.fixture
def gated(half_folder):
    gate = Gate()
    with open_rest_house({"half": half_folder}, Limits(max_predictions=64), run=gate, rest_threads=16) as opened:
        opened.gate = gate
        yield opened
        gate.opened.set()


def test_sixty_four_at_a_time_and_none_is_reset(house):
    together = threading.Barrier(64)

    def ask(_):
        together.wait(60)
        return house.call(URL, GOOD).json

    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        assert list(pool.map(ask, range(64))) == [ANSWER] * 64


def test_a_connection_is_kept_after_an_error(house):
    with Wire(house.port) as wire:
        codes = []
        for path, body in (
            (URL, GOOD),
            (URL, b"{"),
            ("/v1/models/no:predict", GOOD),
            ("/nothing", b"x" * 10**6),
            (URL, GOOD),
        ):
            answer = wire.call(path, body)
            codes.append(answer.code)
            assert "connection" not in answer.headers
        assert codes == [200, 400, 404, 404, 200] and answer.json == ANSWER


def test_a_wrong_url_with_a_large_body_is_answered_to_one_who_closes(house):
    """urllib says `Connection: close`, sends all and only then reads."""
    for path, code in (("/v1/models/half", 400), ("/nothing", 404), ("/v1/models/no:predict", 404)):
        body = json.dumps({"instances": [0.0] * 2**20}).encode()
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f"http://127.0.0.1:{house.port}{path}", body, timeout=60)
        with error.value as answer:
            assert answer.code in (code, 429) and "error" in json.loads(answer.read())


def test_chunks_are_put_together(house):
    content = json.dumps(GOOD).encode()
    with Wire(house.port) as wire:
        wire.send(request_bytes(URL, method="POST", transfer_encoding="chunked"))
        for start in range(0, len(content), 7):
            piece = content[start : start + 7]
            wire.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
        wire.send(b"0\r\n\r\n")
        assert wire.answer().json == ANSWER
        assert wire.call(URL, GOOD).json == ANSWER


@pytest.mark.parametrize("parts", [1, 3])
def test_zipped_bodies(house, parts):
    content = json.dumps(GOOD).encode()
    size = -(-len(content) // parts)
    zipped = b"".join(gzip.compress(content[start : start + size]) for start in range(0, len(content), size))
    assert house.call(URL, zipped, content_encoding="gzip").json == ANSWER


@pytest.mark.parametrize(
    ("body", "encoding", "words"),
    [
        (b"no gzip", "gzip", "no gzip file"),
        (gzip.compress(b"{}")[:-3], "gzip", "no whole gzip file"),
        (gzip.compress(b"{}") + b"more", "gzip", "no gzip file"),
        (b"{}", "br", "Content-Encoding 'br' is none of gzip and identity"),
    ],
    # Names of their own: gzip writes the time into the bytes, and every process must find the same tests.
    ids=["none", "cut short", "more behind", "another encoding"],
)
def test_damaged_or_unknown_encodings(house, body, encoding, words):
    answer = house.call(URL, body, content_encoding=encoding)
    assert answer.code == 400 and words in answer.json["error"]


def test_a_body_of_ten_thousand_gzip_files_is_refused(house):
    answer = house.call(URL, gzip.compress(b"", mtime=0) * 10_001, content_encoding="gzip")
    assert answer.code == 429 and "more than 10000 gzip files" in answer.json["error"]


def test_a_body_is_asked_for_before_it_is_sent(house):
    with Wire(house.port) as wire:
        content = json.dumps(GOOD).encode()
        head = request_bytes(URL, content, expect="100-continue").removesuffix(content)
        wire.send(head)
        assert wire.answer().code == 100
        wire.send(content)
        assert wire.answer().json == ANSWER
    with Wire(house.port) as wire:  # what is wrong already is not asked for
        wire.send(request_bytes("/v1/nothing", b"x" * 10, expect="100-continue")[:-10])
        assert wire.answer().code == 400


def test_requests_behind_each_other_are_answered_in_order(house):
    with Wire(house.port) as wire:
        wire.send(b"".join(request_bytes(URL, {"instances": [float(number)]}) for number in range(8)))
        assert [wire.answer().json for _ in range(8)] == [{"predictions": [number / 2 + 2]} for number in range(8)]


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
def test_a_client_that_would_rather_speak_another_protocol_is_answered_in_this_one(house, protocol):
    headers = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": protocol, "HTTP2_Settings": "AAEAAEAAAAIAAAAB"}
    with Wire(house.port) as wire:  # as Java's own client asks
        for _ in range(2):
            assert wire.call(URL, GOOD, **headers).json == ANSWER
        content = request_bytes(URL, GOOD, **headers)
        for start in range(0, len(content), 50):
            wire.send(content[start : start + 50])
            time.sleep(0.01)
        assert wire.answer().json == ANSWER
        wire.send(request_bytes(URL, GOOD, **headers) * 3 + request_bytes(URL, GOOD))
        assert [wire.answer().json for _ in range(4)] == [ANSWER] * 4
        assert "model_version_status" in wire.call("/v1/models/half", **headers).json
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in json.dumps(GOOD).encode()) + b"0\r\n\r\n"
        wire.send(request_bytes(URL, b"", transfer_encoding="chunked", **headers) + chunks)
        assert wire.answer().json == ANSWER
        assert wire.call(URL, GOOD).json == ANSWER
    with Wire(house.port) as wire:
        assert wire.call(URL, method="CONNECT").code == 400


@pytest.mark.parametrize("more", [1, 40])
def test_a_client_that_goes_frees_the_place_of_its_first_request_too(gated, caplog, more):
    with Wire(gated.port) as other, Wire(gated.port) as wire:
        other.send(request_bytes(URL, {"instances": [[1.0]] * 16}))
        until(lambda: gated.gate.came == 1)
        wire.send(request_bytes(URL, GOOD))
        until(lambda: gated.admission.predictions == 2)
        wire.send(request_bytes(URL, GOOD) * more)  # 40 are too many, and are refused
        time.sleep(0.2)
        wire.close()
        until(lambda: gated.admission.predictions == 1)
        gated.gate.opened.set()
        assert other.answer().code == 200
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),  # a client that speaks TLS
        (b"GET / HTTP/9\r\n\r\n", 400),
        (b"POST /v1/models/half:predict HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET /v1/models/half HTTP/1.1\r\nA: " + b"a" * 400_000, 431),
        (b"GET /v1/models/half HTTP/1.1\r\n\r\n" * 1000, 400),
        (b"GET /v1/models/\xff HTTP/1.1\r\n\r\n", 400),
    ],
)
def test_what_is_no_http_is_refused_and_nobody_else_is_hurt(house, content, code):
    with Wire(house.port) as wire:
        wire.send(content)
        answers = []
        while (answer := wire.answer()) is not None:
            answers.append(answer)
        assert answers[-1].code == code and "error" in answers[-1].json
    assert house.call(URL, GOOD).json == ANSWER


def test_a_client_that_goes_frees_its_place_and_leaves_no_trace(gated, caplog):
    wires = [Wire(gated.port) for _ in range(8)]
    for wire in wires:
        wire.send(request_bytes(URL, {"instances": [[1.0]] * 16}))
    until(lambda: gated.admission.predictions == 8)
    assert (gated.gate.came, gated.admission.waiting) == (1, 7)
    for wire in wires:
        wire.close()
    until(lambda: gated.admission.predictions == 1)  # the seven that waited; one is in the model
    gated.gate.opened.set()
    until(lambda: gated.admission.idle.is_set() and len(gated.ended) == 8)
    assert {event.code.name for event in gated.ended} == {"CANCELLED"} and gated.gate.came == 1
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_client_that_goes_in_the_middle_of_its_body_leaves_nothing(house, caplog):
    with Wire(house.port) as wire:
        wire.send(request_bytes(URL, b"x" * 10**6)[:-1])
        until(lambda: not house.admission.idle.is_set())
    until(house.admission.idle.is_set)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_late_request_is_answered_in_time_and_frees_its_place(half_folder):
    gate = Gate()
    with open_rest_house({"half": half_folder}, run=gate, rest_timeout_seconds=1.0) as opened:
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(opened.call(URL, {"instances": [[1.0]] * 16})))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert [answer.code for answer in answers] == [504] * 4 and "Deadline" in answers[0].json["error"]
        until(lambda: opened.admission.predictions <= 1)
        gate.opened.set()
        until(opened.admission.idle.is_set)
        assert gate.came == 1
        assert {event.code.name for event in opened.ended} == {"DEADLINE_EXCEEDED"}


def test_status_does_not_wait_behind_predictions(half_folder):
    gate = Gate()
    with open_rest_house({"half": half_folder}, run=gate, rest_threads=1) as opened:
        with Wire(opened.port) as first, Wire(opened.port) as second:
            for wire in (first, second):
                wire.send(request_bytes(URL, GOOD))
            until(lambda: gate.came == 1)
            assert opened.call("/v1/models/half").code == 200
            gate.opened.set()
            assert [wire.answer().json for wire in (first, second)] == [ANSWER] * 2


def test_a_full_house_is_said(half_folder):
    gate = Gate()
    with open_rest_house({"half": half_folder}, Limits(max_predictions=1), run=gate) as opened:
        with Wire(opened.port) as wire:
            wire.send(request_bytes(URL, GOOD))
            until(lambda: gate.came == 1)
            answer = opened.call(URL, GOOD)
            assert answer.code == 429 and "the most that this server allows" in answer.json["error"]
            gate.opened.set()
            assert wire.answer().json == ANSWER


def test_a_client_that_falls_silent_is_cut_off(half_folder, monkeypatch):
    monkeypatch.setattr(rest_protocol, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(rest_protocol, "_SILENT_SECONDS", 1.0)
    monkeypatch.setattr(rest_body, "_SECONDS_TO_SEND", 1.0)
    large = request_bytes(URL, {"instances": [[0.75] * 1000] * 1000})
    with open_rest_house({"half": half_folder}) as opened, contextlib.ExitStack() as stack:
        kept = stack.enter_context(Wire(opened.port))
        assert kept.call(URL, GOOD).json == ANSWER
        deaf = stack.enter_context(Wire(opened.port))
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.send(large)  # and never reads the answer of some megabytes
        nothing, head, body = (stack.enter_context(Wire(opened.port)) for _ in range(3))
        head.send(b"GET /v1/models/half HTTP/1.1\r\nA: ")
        body.send(request_bytes(URL, GOOD)[:-1])
        late = body.answer()
        assert late.code == 504 and late.json == {"error": "the body did not arrive in time"}
        assert nothing.answer() is None and head.answer() is None
        connections = opened.rest._server.server_state.connections
        port = deaf.socket.getsockname()[1]
        until(lambda: port not in {connection.client[1] for connection in connections})
        assert kept.call(URL, GOOD).json == ANSWER  # silent too, but between two requests


def test_too_many_connections_are_told_so(half_folder, monkeypatch):
    monkeypatch.setattr(rest_protocol, "_MOST_CONNECTIONS", 4)
    with open_rest_house({"half": half_folder}) as opened, contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(opened.port)) for _ in range(4)]
        assert [wire.call(URL, GOOD).code for wire in wires] == [200] * 4
        with Wire(opened.port) as wire:
            answer = wire.answer()
            assert answer.code == 503 and answer.json == {"error": "too many connections"} and wire.answer() is None
        wires[0].close()
        until(lambda: len(opened.rest._server.server_state.connections) < 4)
        assert opened.call(URL, GOOD).json == ANSWER
