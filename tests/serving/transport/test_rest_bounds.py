"""What a REST client cannot do: take the server's memory or end it, whatever it sends."""

import concurrent.futures
import contextlib
import gzip
import json
import random
import socket

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.core.limits import Limits
from tests.serving.transport.rest_house import ANSWER, GOOD, URL, Wire, open_rest_house, request_bytes, until
from tests.serving.transport.rest_process import rest_process

IMAGE_URL = "/v1/models/image:predict"
MOST_MEBIBYTES = 64


class MeanOfImage(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 416, 416, 3], tf.float32, "image")])
    def __call__(self, image):
        return {"mean": tf.reduce_mean(image, [1, 2, 3])}


@pytest.fixture(scope="module")
def process(half_folder, tmp_path_factory):
    base = tmp_path_factory.mktemp("bounds")
    tf.saved_model.save(MeanOfImage(), base / "image" / "1")
    log = base / "log"
    with rest_process({"half": half_folder, "image": base / "image"}, log) as running:
        with Wire(running.port) as wire:
            assert wire.call(URL, GOOD).json == ANSWER
        yield running
    assert "Traceback" not in log.read_text() and "ERROR" not in log.read_text()


def instances(item, count):
    return b'{"instances": [' + item * (count - 1) + item.rstrip(b",") + b"]}"


ZEROS = gzip.compress(bytes(2**30), compresslevel=9)
BOMBS = {
    "depth": (URL, lambda: b'{"instances": ' + b"[" * 2**24, {}, 429),
    "little depth": (URL, lambda: b'{"instances": ' + b"[" * 100_000, {}, 400),
    "objects in objects": (URL, lambda: b'{"a":' * 2**21, {}, 429),
    "gzip": (URL, lambda: ZEROS, {"content_encoding": "gzip"}, 429),
    "gzip in gzip": (URL, lambda: gzip.compress(ZEROS), {"content_encoding": "gzip"}, 400),
    "numbers": (URL, lambda: instances(b"1,", 2**24), {}, 429),
    "numbers for an image": (IMAGE_URL, lambda: instances(b"1,", 2**24), {}, 429),
    "long numbers": (URL, lambda: instances(b"-0.123456789e-12,", 2**21), {}, 429),
    "not too many long numbers": (URL, lambda: instances(b"-0.123456789e-12,", 400_000), {}, 429),
    "digits": (URL, lambda: instances(b"9" * 2**20, 1), {}, 400),
    "empty lists": (IMAGE_URL, lambda: instances(b"[],", 2**22), {}, 429),
    "empty objects": (URL, lambda: instances(b"{},", 2**22), {}, 429),
    "empty strings": (URL, lambda: instances(b'"",', 2**22), {}, 429),
    "names": (URL, lambda: b"{" + b",".join(b'"%d":0' % number for number in range(2**20)) + b"}", {}, 429),
    "rows": (URL, lambda: instances(b"1.0,", 100_000), {}, 429),
    "examples": ("/v1/models/half:regress", lambda: b'{"examples": [' + b"{}," * 100_000 + b"{}]}", {}, 429),
    "features": ("/v1/models/half:regress", lambda: b'{"examples": [{"x": [' + b"1," * 2**24 + b"1]}]}", {}, 429),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_little_memory(process, name):
    url, make, headers, code = BOMBS[name]
    content, codes = make(), []

    def send():
        with Wire(process.port) as wire:
            codes.append(wire.call(url, content, **headers).code)

    # What arrives as it is must be kept to be looked at; that is what the client sent, and not what it claims.
    assert process.grown(send) < MOST_MEBIBYTES
    assert codes == [code]
    with Wire(process.port) as wire:
        assert wire.call(URL, GOOD).json == ANSWER


def test_an_image_as_numbers_is_no_bomb(process):
    pixel = [0.123456789, 0.5, 1]
    request = {"instances": [[[pixel] * 416] * 416]}
    with Wire(process.port) as wire:
        (mean,) = wire.call(IMAGE_URL, request).json["predictions"]
    assert abs(mean - sum(pixel) / 3) < 1e-3


def test_many_connections_share_one_bound(half_folder):
    with open_rest_house({"half": half_folder}, Limits(max_bytes=32 << 20)) as opened:
        with contextlib.ExitStack() as wires:
            head = request_bytes(URL, b"x").replace(b"Content-Length: 1\r\n\r\nx", b"Content-Length: 67108864\r\n\r\n")
            held = [wires.enter_context(Wire(opened.port)) for _ in range(64)]
            for wire in held:
                wire.socket.settimeout(0.5)
                wire.send(head)
                with contextlib.suppress(TimeoutError):
                    wire.send(b" " * 900_000)
            # 32 of them found room, and the others are told; their rest is read and not kept.
            until(lambda: opened.admission._bytes > 31 << 20)
            assert opened.call("/v1/models/half").code == 200
            assert opened.call(URL, GOOD).code == 429
        until(opened.admission.idle.is_set)
        assert opened.admission._bytes == 0
        assert opened.call(URL, GOOD).json == ANSWER


def mutate(chance, content):
    content = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        place = chance.randrange(len(content) + 1)
        kind = chance.randrange(5)
        if kind == 0 and place < len(content):
            content[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            content[place:place] = chance.choice(TOKENS)
        elif kind == 2:
            del content[place : place + chance.randint(1, 20)]
        elif kind == 3:
            content[place:place] = content[place : place + chance.randint(1, 200)]
        else:
            content[place : place + 1] = chance.randbytes(1)
    return bytes(content)


TOKENS = [
    b"[", b"]", b"{", b"}", b",", b":", b'"', b"null", b"true", b"1e400", b"-1", b"NaN", b"Infinity", b"\\ud800",
    b"\x00", b"\xff", b'{"b64": "YQ"}', b'"signature_name": "no",', b"\r\n", b"%00", b"/labels/x", b"9" * 30,
    b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", b"[" * 2000,
    b"Expect: 100-continue\r\n",
]  # fmt: skip
GOOD_ONES = [
    (URL, json.dumps(GOOD).encode()),
    (URL, b'{"signature_name": "serving_default", "inputs": {"x": [[1.0], [2.0]]}}'),
    (
        "/v1/models/half:regress",
        b'{"signature_name": "regress_x_to_y", "examples": [{"x": 1.0}], "context": {"x": 2.0}}',
    ),
    ("/v1/models/half/versions/1:classify", b'{"signature_name": "classify_x_to_y", "examples": [{"x": [1.0]}]}'),
    (IMAGE_URL, b'{"instances": [[[[1, 2, 3]]]]}'),
]
PROPER = {200, 400, 404, 429, 431, 501, None}


def ask(port, seed):
    """Sends one wrong request. Returns its code; `None` for a connection that just ended, 0 for one that waits on."""
    chance = random.Random(seed)
    url, body = chance.choice(GOOD_ONES)
    if seed % 3:
        content = request_bytes(url, mutate(chance, body))
    else:
        content = mutate(chance, request_bytes(url, body))
    with socket.create_connection(("127.0.0.1", port), timeout=60) as wire:
        wire.sendall(content)
        wire.settimeout(60 if seed % 3 else 0.3)
        try:
            head = wire.recv(65536)
        except TimeoutError:  # the rest of a request is waited for
            return 0
        except ConnectionResetError:
            return None
    return int(head.split()[1]) if head else None


def test_two_thousand_wrong_requests(process):
    before = process.resident()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(lambda seed: ask(process.port, seed), range(2000)))
    assert set(codes) <= PROPER | {0, 100}
    whole = [code for seed, code in enumerate(codes) if seed % 3]
    assert set(whole) <= {200, 400, 404, 429} and whole.count(400) > len(whole) / 2
    assert codes.count(0) < 300 and codes.count(None) < 300
    assert process.resident() - before < MOST_MEBIBYTES
    with Wire(process.port) as wire:
        assert wire.call(URL, GOOD).json == ANSWER


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
NAMES = st.sampled_from(["instances", "inputs", "examples", "context", "signature_name", "x"])
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=3) | st.builds(lambda value: {"instances": value}, VALUES)


@given(document=DOCUMENTS, action=st.sampled_from(["predict", "classify", "regress"]))
@settings(max_examples=300)
def test_any_json_is_answered(process, document, action):
    with Wire(process.port) as wire:
        answer = wire.call(f"/v1/models/half:{action}", document)
    assert answer.code == 400 and set(answer.json) == {"error"} or answer.code == 200 and action == "predict"
