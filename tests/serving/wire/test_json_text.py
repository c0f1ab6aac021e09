"""JSON text in: what it would take, what is no JSON, and base64."""

import base64
import json
import tracemalloc
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import RequestError
from serving.wire.json_text import check_structure, decode_base64, parse, parsed_bytes, show

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=4), inner), max_leaves=20
)


@given(
    document=st.dictionaries(st.text(max_size=4).map("k".__add__), VALUES), marked=st.booleans(), ascii=st.booleans()
)
def test_a_document_comes_back(document, marked, ascii):
    text = json.dumps(document, ensure_ascii=ascii).encode("utf-8")
    read = parse(bytearray(b"\xef\xbb\xbf" * marked + text))
    assert repr(read) == repr(document)  # NaN equals NaN here


PIECES = {
    "small numbers": "1",
    "large numbers": "12345678901234567890",
    "floats": "0.12345678",
    "short floats": "1.5",
    "lists": "[]",
    "lists of one": "[[1]]",
    "objects": "{}",
    "objects of one": '{"a":1}',
    "strings": '"ab"',
    "strings of one character": '"é"',
    "wide strings": '"😀😀😀😀"',
    "pixels": "[0.5, 0.25, 0.125]",
    "photos": '"' + "A" * 10_000 + '"',
}


@pytest.mark.parametrize("name", PIECES)
def test_no_text_takes_more_than_was_told(name):
    count = 20_000 if len(PIECES[name]) < 100 else 100
    body = bytearray(b'{"instances": [' + ", ".join([PIECES[name]] * count).encode() + b"]}")
    tracemalloc.start()
    try:
        document = parse(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(document["instances"]) == count
    text, structure = parsed_bytes(body)
    assert peak <= (text + structure) * 1.05 + 2**16
    if name in ("floats", "lists", "pixels", "photos"):  # and not absurdly less
        assert peak >= (text + structure) / 2.5


def spec(*shape):
    return types.SimpleNamespace(shape=shape)


IMAGE = b"[" + b",".join([b"[" + b",".join([b"[0.5,0.5,0.5]"] * 416) + b"]"] * 416) + b"]"


@pytest.mark.parametrize(
    ("body", "specs", "well"),
    [
        (IMAGE, [spec(None, 416, 416, 3)], True),
        (b",".join([IMAGE] * 4), [spec(None, 416, 416, 3), spec(None, 20)], True),
        (IMAGE, [types.SimpleNamespace(shape=None)], True),
        (b",".join([IMAGE] * 2), [types.SimpleNamespace(shape=None)], False),
        (b",".join([IMAGE] * 2), [spec(None, None, None, 3)], False),
        (b",".join([IMAGE] * 2), [], False),
        (IMAGE, [spec(None), spec(None)], False),
        (b"[" + b"0.5," * 2_000_000, [spec(None, 416, 416, 3)], False),
        (b"[" + b"0.5," * 2_000_000, [spec(None, 4000)], False),
        (b"[" + b"0.5," * 1_000_000, [spec(None, 2_000_000)], True),
        (b"a,b " * 300_000, [spec(None), spec(None)], True),  # commas of sentences
        (b"A" * 50_000_000, [spec(None)], True),
    ],
)
def test_what_a_signature_cannot_take_is_refused_before_it_is_parsed(body, specs, well):
    structure = parsed_bytes(body)[1]
    if well:
        check_structure(body, structure, specs, max_rows=1024)
        return
    with pytest.raises(RequestError, match="more than its signature can take") as error:
        check_structure(body, structure, specs, max_rows=1024)
    assert error.value.code.name == "RESOURCE_EXHAUSTED"


@given(content=st.binary(max_size=60), cut=st.integers(0, 80), blank=st.sampled_from(["", "\n", " ", "\t\r\n"]))
def test_base64_with_white_space_and_without_padding(content, cut, blank):
    text = base64.b64encode(content).decode()
    for variant in (text, text.rstrip("="), text[:cut] + blank + text[cut:]):
        assert decode_base64(variant) == content


@pytest.mark.parametrize(
    "text", ["Y", "YQ=", "YQ===", "Y=Q=", "YWJjZA====", "-_aa", "é", "YQ==YQ==", "Y%Q", "=", "===="]
)
def test_what_is_no_base64(text):
    with pytest.raises(RequestError, match="Unable to base64 decode"):
        decode_base64(text)


def test_values_are_shown_in_short():
    assert show({"a": [1, 2.5, None, True, "é", float("nan")]}) == '{"a": [1, 2.5, null, true, "é", NaN]}'
    for value in ("x" * 10**7, ["x" * 10**7], {"x" * 10**7: 1}, [[]] * 10**6, [0] * 10**6):
        tracemalloc.start()
        try:
            assert len(show(value)) <= 201
            assert tracemalloc.get_traced_memory()[1] < 10**5
        finally:
            tracemalloc.stop()
