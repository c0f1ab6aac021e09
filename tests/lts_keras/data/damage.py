"""Damage to small valid documents: one value of another type, range or encoding, anywhere; or bytes of the file."""

import copy
import json

from hypothesis import strategies as st

STRANGE = (
    *(None, True, False, [], {}, [[]], [None], [1], {"a": 1}, [[1, 2, 3]], [[[1, 2], [9, 2], [9, 9]]]),
    *(-1, 0, 1, 2, 3, 7, 48, 65_536, 2**31, 2**63, 2**64, 10**30, -(10**30)),
    *(7.0, 0.5, -0.0, 1e-320, 1e20, 1e308, -1e308, float("inf"), float("-inf"), float("nan")),
    *("7", "7.0", "007", "-1", "", " ", "x", "?!", "NaN", ".", "..", "a/b", "a\\b", "\ud83d", "a\0b", "a" * 5000),
    *("one\ntwo\x1b[31m\u2028\u202e", "cafe\u0301", "caf\u00e9", "\u0661\u0662", "\U0001f600", "drop", "\u200b"),
)
"""Values of every kind that a writer of files ever puts where another one should be."""


def places(value, path=()):
    """Paths of all values inside a value, its own first."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def at(value, path):
    """The value at a path."""
    for key in path:
        value = value[key]
    return value


@st.composite
def damaged(draw, document):
    """`document` with one value replaced, taken away, doubled, or exchanged with another one of it."""
    document = copy.deepcopy(document)
    all_places = list(places(document))
    path = draw(st.sampled_from(all_places))
    kind = draw(st.sampled_from(("strange", "strange", "strange", "other", "remove", "twice", "swap")))
    if not path:
        return draw(st.sampled_from(STRANGE)) if kind == "strange" else document
    parent, key = at(document, path[:-1]), path[-1]
    if kind == "strange":
        parent[key] = copy.deepcopy(draw(st.sampled_from(STRANGE)))
    elif kind == "other":
        parent[key] = copy.deepcopy(at(document, draw(st.sampled_from(all_places))))
    elif kind == "remove":
        del parent[key]
    elif kind == "swap":
        other = draw(st.sampled_from(list(parent) if isinstance(parent, dict) else range(len(parent))))
        parent[key], parent[other] = parent[other], parent[key]
    elif isinstance(parent, list):
        parent.insert(key, copy.deepcopy(parent[key]))
    else:
        parent[Twice(key)] = copy.deepcopy(draw(st.sampled_from((parent[key], *STRANGE))))
    return document


class Twice(str):
    """A key that stands in a dict beside an equal one, as JSON may have it."""

    __hash__ = object.__hash__

    def __eq__(self, other):
        return self is other


def bytes_of(document, kind="ascii"):
    """JSON text of a document: `"ascii"`, or `"utf-8"`, in which half an emoji is written as it is."""
    return json.dumps(document, ensure_ascii=kind == "ascii").encode("utf-8", "surrogatepass")


@st.composite
def damaged_bytes(draw, content):
    """`content` cut, of another encoding, or with other bytes in it."""
    kind = draw(st.sampled_from(("cut", "flip", "insert", "BOM", "CRLF", "UTF-16", "UTF-32", "Latin-1", "NUL")))
    place = draw(st.integers(0, len(content) - 1))
    if kind == "cut":
        return content[:place]
    if kind == "flip":
        return content[:place] + bytes([content[place] ^ (1 << draw(st.integers(0, 7)))]) + content[place + 1 :]
    if kind == "insert":
        return content[:place] + draw(st.sampled_from((b"\xff", b"\n", b"}", b"\xed\xa0\xbd", b"0"))) + content[place:]
    if kind in ("BOM", "NUL"):
        return (b"\xef\xbb\xbf" if kind == "BOM" else b"\0") + content
    if kind == "CRLF":
        return content.replace(b"\n", b"\r\n").replace(b", ", b",\r\n") + b"\r\n"
    # Pickles and parquet files are no text: Latin-1 holds all of their bytes.
    text = content.decode("latin-1") if kind == "Latin-1" else content.decode("utf-8", "replace")
    return text.encode({"Latin-1": "utf-8"}.get(kind, kind))
