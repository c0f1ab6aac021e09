"""Mutations of real requests, byte by byte: what a broken or hostile client may send."""

from hypothesis import strategies as st

__all__ = ["changed", "changes_of", "number"]

_MOST_BYTES = 2**16
_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF)


def number(value):
    """A varint, as protobuf writes numbers and lengths."""
    content = b""
    while value > 0x7F:
        content += bytes([value & 0x7F | 0x80])
        value >>= 7
    return content + bytes([value])


def changes_of(contents):
    """Strategy of one to four changes, for requests of which `contents` has the bytes."""
    values = {
        "set": st.one_of(st.sampled_from(_EXTREMES), st.integers(0, 255)),
        "flip": st.integers(0, 7),
        "cut": st.integers(1, 64),
        "insert": st.binary(min_size=1, max_size=12),
        "repeat": st.integers(1, 64),
        "end": st.just(0),
        "splice": st.integers(0, len(contents) - 1),
        "number": st.integers(0, 2**64 - 1),
    }
    kinds = [st.tuples(st.just(kind), st.integers(0, _MOST_BYTES), value) for kind, value in values.items()]
    return st.lists(st.one_of(kinds), min_size=1, max_size=4)


def changed(content, changes, contents):
    """The bytes of a request after some changes; another of `contents` may follow in the middle of it."""
    for kind, place, value in changes:
        data, place = bytearray(content), place % max(1, len(content))
        if not data:
            return content
        if kind == "set":
            data[place] = value
        elif kind == "flip":
            data[place] ^= 1 << value
        elif kind == "cut":
            del data[place : place + value]
        elif kind == "insert":
            data[place:place] = value
        elif kind == "repeat":
            data[place:place] = data[place : place + value]
        elif kind == "end":
            del data[place:]
        elif kind == "number":
            data[place : place + 1] = number(value)
        else:
            data[place:] = contents[value][place % len(contents[value]) :]
        content = bytes(data)
    return content
