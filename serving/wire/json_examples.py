"""Examples from JSON: what classify and regress take."""

import numpy as np

from serving.errors import invalid_argument
from serving.wire.json_text import decode_base64, encode_text, holds_base64, show, type_word

__all__ = ["examples_of", "fill_input"]

_LARGEST_FLOAT = float(np.finfo(np.float32).max)
_FIELDS = {"int64": "int64_list", "float": "float_list", "bytes": "bytes_list"}


def examples_of(document):
    """The examples of a request.

    Args:
        document: dict, the parsed JSON with `examples`.

    Returns:
        List, not empty.

    Raises:
        RequestError: `INVALID_ARGUMENT`, in TensorFlow Serving's words.
    """
    if "examples" not in document:
        words = "When method is classify, key 'examples' is expected and was not found"
        raise invalid_argument(f"JSON Value: {show(document)} {words}")
    examples = document["examples"]
    if not isinstance(examples, list):
        raise invalid_argument(f"JSON Value: {show(document)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise invalid_argument(f"JSON Value: {show(document)} 'examples' value is an empty array")
    return examples


def fill_input(document, request_input):
    """Writes the examples, and the context that they share, into the input of a request.

    Args:
        document: dict, the parsed JSON.
        request_input: `Input` to fill.

    Raises:
        RequestError: as `examples_of`, or for a feature whose values are of no kind or of several.
    """
    examples = examples_of(document)
    target = request_input.example_list
    if "context" in document:
        target = request_input.example_list_with_context
        target.context.SetInParent()
        _fill_example(document["context"], target.context)
    for example in examples:
        _fill_example(example, target.examples.add())


def _fill_example(features, example):
    if not isinstance(features, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {type_word(features)}")
    for name, content in features.items():
        encode_text(name)
        values = content if isinstance(content, list) else [content]
        kinds = [_kind_of(value, name) for value in values]
        feature = example.features.feature[name]
        if not kinds:
            continue
        if set(kinds) != {kinds[0]}:
            raise invalid_argument(f"Unexpected element type in feature: {show(name)[1:-1]} expecting type: {kinds[0]}")
        read = {"int64": int, "float": float, "bytes": _read_bytes}[kinds[0]]
        getattr(feature, _FIELDS[kinds[0]]).value.extend(read(value) for value in values)


def _kind_of(value, name):
    if isinstance(value, bool):
        return "int64"
    if isinstance(value, str) or holds_base64(value):
        return "bytes"
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return "int64"
    if isinstance(value, int) and 0 < value < 2**64:
        message = f"Feature: {show(name)[1:-1]} has uint64 element. Only int64 is supported."
        raise invalid_argument(message)
    if isinstance(value, int | float):  # a whole number of more than 64 bits is a float for TensorFlow Serving
        if abs(value) > _LARGEST_FLOAT and abs(value) != float("inf"):
            message = f"Cannot convert JSON value: {show(value)} to float without loss of precision."
            raise invalid_argument(message)
        return "float"
    words = f"has element with unexpected JSON type: {type_word(value)}"
    raise invalid_argument(f"Feature: {show(name)[1:-1]} {words}")


def _read_bytes(value):
    if isinstance(value, dict):
        return decode_base64(value["b64"])
    return encode_text(value)
