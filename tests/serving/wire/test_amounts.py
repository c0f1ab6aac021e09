"""What a message will take, told before it is parsed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import RequestError
from serving.wire.amounts import MOST_FIELDS, parsed_bytes
from serving.wire.protos import ClassificationRequest, PredictRequest, ReloadConfigRequest
from serving.wire.tensors import from_array

SMALL = 2**16


def request_of(array, **names):
    request = PredictRequest()
    request.inputs["x"].CopyFrom(from_array(array, **names))
    return request.SerializeToString()


@pytest.mark.parametrize("as_content", [False, True])
def test_an_honest_request_is_counted_about_once(as_content):
    content = request_of(np.ones((8, 416, 416, 3), np.float32), as_content=as_content)
    assert len(content) <= parsed_bytes(content, PredictRequest) < len(content) + 2000


def test_small_messages_are_not_looked_at():
    content = b"\x12\x00" * (SMALL // 2)
    assert parsed_bytes(content, PredictRequest) == SMALL
    assert parsed_bytes(content + b"\x12\x00", PredictRequest) > 50 * SMALL


def test_numbers_of_a_byte_each_are_counted_as_they_are_held():
    content = request_of(np.ones(10**6, np.int64))
    assert len(content) < 1.01 * 10**6 and parsed_bytes(content, PredictRequest) > 8 * 10**6


@pytest.mark.parametrize(
    ("kind", "tag"), [(PredictRequest, 0x12), (PredictRequest, 0x1A), (ClassificationRequest, 0x78)]
)
def test_a_message_of_too_many_fields_is_refused(kind, tag):
    pair = bytes([tag, 0])
    assert parsed_bytes(pair * MOST_FIELDS, kind) >= 16 * MOST_FIELDS
    with pytest.raises(RequestError, match=f"more than {MOST_FIELDS} fields") as refusal:
        parsed_bytes(pair * (MOST_FIELDS + 1), kind)
    assert refusal.value.code.name == "RESOURCE_EXHAUSTED"


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=300), st.sampled_from([PredictRequest, ReloadConfigRequest]))
def test_any_bytes_are_counted_and_never_below_their_number(head, tail, kind):
    content = head + b"\x0a" + bytes([0x80, 0x80, 4]) + bytes(SMALL) + tail
    assert parsed_bytes(content, kind) >= len(content)


MEASURE = """
import sys
from serving.wire.amounts import parsed_bytes
from serving.wire.protos import message
kind, content = message(sys.argv[1]), bytes.fromhex(sys.argv[2])
head, count = bytes.fromhex(sys.argv[3]), int(sys.argv[4])
content = content * count
for number in reversed(head):
    size, length = len(content), b""
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    content = bytes([number << 3 | 2]) + length + bytes([size]) + content
pages = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
counted, before = parsed_bytes(content, kind), pages()
parsed = kind.FromString(content)
print(counted, pages() - before)
"""


@pytest.mark.parametrize(
    ("kind", "piece", "head"),
    [
        ("PredictRequest", "1200", ""),  # inputs
        ("PredictRequest", "1a00", ""),  # outputs
        ("PredictRequest", "1200", "020202"),  # dimensions
        ("PredictRequest", "4200", "0202"),  # strings
        ("PredictRequest", "7a00", "0202"),  # variants
        ("ClassificationRequest", "0a00", "0201"),  # examples
        ("ClassificationRequest", "0a00", "02010101"),  # features
        ("MultiInferenceRequest", "0a00", ""),  # tasks
        ("ReloadConfigRequest", "0a00", "0101"),  # models
    ],
)
def test_the_estimate_is_not_below_what_the_parser_takes(kind, piece, head):
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", MEASURE, f"tensorflow.serving.{kind}", piece, head, str(MOST_FIELDS - 10)]
    counted, taken = map(int, subprocess.run(command, cwd=root, capture_output=True, check=True).stdout.split())
    assert taken < 1.3 * counted + 2**20
