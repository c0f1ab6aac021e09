"""JSON text in: what it would take in memory is told from its bytes before anything is parsed."""

import binascii
import json
import math
import re

import grpc

from serving.errors import RequestError, invalid_argument, resource_exhausted

__all__ = [
    "check_structure",
    "decode_base64",
    "encode_text",
    "holds_base64",
    "parse",
    "parsed_bytes",
    "show",
    "type_word",
    "unimplemented",
]

# What Python's objects take. A number of one or two digits is none of its own, so numbers are bounded by the text too.
_NUMBER_BYTES, _NUMBER_BYTES_PER_CHARACTER, _LIST_BYTES, _OBJECT_BYTES, _STRING_BYTES = 36, 9, 104, 250, 60
_UNKNOWN_BYTES = 48 << 20
"""What numbers, lists and objects may take where a signature does not say how many it takes."""
_FREE_BYTES = 16 << 20
"""What they may take in any case."""
_SLACK = 1 << 17  # commas of sentences are no values
_LONGEST = 200
_MAY_BE_TOO_LARGE = re.compile(rb"[eE]\+?[0-9]{3}|[0-9]{300}")
_IN_BASIC_PLANE = bytes(range(0xF0))

_WORDS = {
    "Expecting value": "Invalid value.",
    "Extra data": "The document root must not be followed by other values.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Expecting ',' delimiter": "Missing a comma or } after an object member, or ] after an array element.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid control character at": "Invalid encoding in string.",
}
_TYPE_WORDS = {type(None): "Null", dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}


def parsed_bytes(body):
    """Estimates the memory that a JSON text takes once it is parsed, never far below what it is.

    Args:
        body: bytes or bytearray.

    Returns:
        `(int, int)`, bytes for the text with its strings, and for numbers, lists and objects.
    """
    lists, objects = body.count(b"["), body.count(b"{")
    values = body.count(b",") + lists + objects
    numbers = min(_NUMBER_BYTES * values, _NUMBER_BYTES_PER_CHARACTER * len(body))
    # One character beyond the basic plane makes each character of a text four bytes wide.
    width = 1 if body.isascii() else 4 if body.translate(None, _IN_BASIC_PLANE) else 2
    strings = _STRING_BYTES * (body.count(b'"') // 2)
    return len(body) * (width + 1), numbers + _LIST_BYTES * lists + _OBJECT_BYTES * objects + strings


def check_structure(body, structure, specs, max_rows):
    """Refuses a text with more numbers, lists or objects than its signature could take.

    Args:
        body: bytes or bytearray.
        structure: int, from `parsed_bytes`.
        specs: list of the signature's inputs, each with a `shape`: tuple of ints and `None`, or `None`.
        max_rows: int, rows that a request may have.

    Raises:
        RequestError: `RESOURCE_EXHAUSTED`.
    """
    shapes = [spec.shape for spec in specs]
    if not shapes or any(shape is None or None in shape[1:] for shape in shapes):
        well = structure <= _UNKNOWN_BYTES
    else:
        values = max_rows * sum(math.prod(shape[1:]) for shape in shapes)
        widest = max(len(specs), *(shape[-1] if len(shape) > 1 else max_rows for shape in shapes))
        well = structure <= _FREE_BYTES or (
            structure <= _FREE_BYTES + values * (_NUMBER_BYTES + _LIST_BYTES)
            # A flat list of numbers is none of the nested ones that an image would be.
            and body.count(b",") <= body.count(b"[") * widest + _SLACK
        )
    if well:
        return
    raise resource_exhausted(
        f"the numbers, lists and objects of the JSON text would take some {structure >> 20} MiB, more than its "
        "signature can take; send large tensors over gRPC, or images as JPEG or PNG"
    )


def parse(body):
    """Parses a request's JSON text.

    Args:
        body: bytes or bytearray.

    Returns:
        dict.

    Raises:
        RequestError: `INVALID_ARGUMENT`, in TensorFlow Serving's words, for a text that is no JSON object.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        hook = _finite if _MAY_BE_TOO_LARGE.search(body) else None
        document = json.loads(body.decode("utf-8-sig"), parse_float=hook)
    except UnicodeDecodeError as error:
        raise invalid_argument(f"JSON Parse error: Invalid encoding in string. at offset: {error.start}") from None
    except json.JSONDecodeError as error:
        if error.pos >= len(error.doc.rstrip()) and not error.doc.strip():
            raise invalid_argument("JSON Parse error: The document is empty") from None
        words = _WORDS.get(error.msg, error.msg)
        raise invalid_argument(f"JSON Parse error: {words} at offset: {error.pos}") from None
    except RecursionError:
        raise invalid_argument("JSON Parse error: lists and objects are nested too deeply") from None
    except ValueError:  # more digits than Python reads, or a float that would be infinite
        raise invalid_argument("JSON Parse error: Number too big to be stored in double.") from None
    if not isinstance(document, dict):
        raise invalid_argument(f"JSON Value: {show(document)} Is not object")
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        words = "not formatted correctly. 'signature_name' key must be a string value."
        raise invalid_argument(f"JSON Value: {show(document)} {words}")
    encode_text(name)
    return document


def encode_text(text):
    """The UTF-8 of a string; half of a pair of surrogates, which JSON can write and UTF-8 cannot, is refused."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise invalid_argument("JSON Parse error: The surrogate pair in string is invalid.") from None


def show(value):
    """The beginning of a value's JSON text, for messages; a large value costs no more than a small one."""
    text = ""
    for piece in _pieces(value):
        text += piece
        if len(text) > _LONGEST:
            return text[:_LONGEST] + "…"
    return text


def type_word(value):
    """JSON's word for the type of a value."""
    return str(value) if isinstance(value, bool) else _TYPE_WORDS[type(value)]


def holds_base64(value):
    """Whether a value is an object with base64 alone, `{"b64": "..."}`."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def decode_base64(text):
    """The bytes of a base64 text.

    Args:
        text: str; white space is passed over and the padding may be left out, as TensorFlow Serving has it.

    Returns:
        bytes.

    Raises:
        RequestError: `INVALID_ARGUMENT` for any other text.
    """
    try:
        content = text.encode("ascii")
        if content.translate(None, b" \t\n\v\f\r") != content:
            content = b"".join(content.split())
        digits = content.rstrip(b"=")
        padding = b"=" * (-len(digits) % 4)
        if len(content) != len(digits) and content != digits + padding:
            raise ValueError("wrong padding")
        return binascii.a2b_base64(digits + padding, strict_mode=True)
    except ValueError:
        raise invalid_argument("Unable to base64 decode") from None


def unimplemented(message):
    """Returns the error of what JSON cannot carry."""
    return RequestError(grpc.StatusCode.UNIMPLEMENTED, message)


def _finite(text):
    value = float(text)
    if math.isinf(value):
        raise ValueError(text)
    return value


def _pieces(value):
    if isinstance(value, str):
        yield json.dumps(value[: _LONGEST + 1], ensure_ascii=False)
    elif isinstance(value, list | dict):
        yield "[" if isinstance(value, list) else "{"
        for number, item in enumerate(value):
            yield ", " if number else ""
            if isinstance(value, dict):
                yield from _pieces(item)
                yield ": "
                item = value[item]
            yield from _pieces(item)
        yield "]" if isinstance(value, list) else "}"
    else:
        yield json.dumps(value)
