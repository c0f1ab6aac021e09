"""Requests that are small on the wire and claim much: rows, pixels, fields and sentences."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from serving.wire.amounts import MOST_FIELDS
from tests.serving.asking import predict_request
from tests.serving.mutations import number
from tests.small_models import photo_bytes

__all__ = ["BOMBS", "FLOAT", "GOOD", "field", "photos", "shape", "spec", "strings"]


def strings(*values):
    return np.array(values, dtype=object)


def photos(image_bytes, expressions, signature="serving_default"):
    inputs = {"image_bytes": strings(*image_bytes), "expression": strings(*expressions)}
    return predict_request("photos", inputs, signature).SerializeToString()


GOOD = photos([photo_bytes()], [b"the left dog"])


def field(index, *parts):
    """A field of bytes, or of a message that is given by its fields."""
    content = b"".join(parts)
    return number(index << 3 | 2) + number(len(content)) + content


def spec(name, signature=""):
    return field(1, field(1, name.encode()), field(3, signature.encode()))


def tensor(name, *fields):
    """One entry of the inputs of a `PredictRequest`."""
    return field(2, field(1, name.encode()), field(2, *fields))


def shape(*sizes):
    return field(2, *(field(2, b"\x08" + number(size)) for size in sizes))


FLOAT, STRING = b"\x08\x01", b"\x08\x07"


def png_header(width, height):
    """The beginning of a PNG file that claims a size, and nothing of the picture."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def real_png(width, height):
    content = io.BytesIO()
    Image.new("1", (width, height)).save(content, "PNG")
    return content.getvalue()


def jpeg_header(width, height):
    """A JPEG file whose header claims another size than it has."""
    content = io.BytesIO()
    Image.new("L", (8, 8)).save(content, "JPEG")
    data = bytearray(content.getvalue())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


BIG_PHOTO = real_png(7000, 7000)
MANY = [b"dog"] * 1024
BOMBS = {
    "rows of floats": (
        lambda: spec("half") + tensor("x", FLOAT, shape(2**40), field(5, b"\0" * 4)),
        "INVALID_ARGUMENT",
    ),
    "rows of nothing": (lambda: spec("half") + tensor("x", FLOAT, shape(2**31)), "INVALID_ARGUMENT"),
    "rows of pictures": (
        lambda: spec("half") + tensor("x", FLOAT, shape(1024, 416, 416, 3), field(5, b"\0" * 4)),
        "INVALID_ARGUMENT",
    ),
    "rows of strings": (
        lambda: spec("photos") + tensor("expression", STRING, shape(2**24), field(8, b"dog")),
        "INVALID_ARGUMENT",
    ),
    "one long string for many": (
        lambda: spec("odd") + tensor("text", STRING, shape(2**20), field(8, b"x" * 2**20)),
        "INVALID_ARGUMENT",
    ),
    "sizes whose product is beyond 64 bits": (
        lambda: spec("half") + tensor("x", FLOAT, shape(2**62, 2**62, 2**62)),
        "INVALID_ARGUMENT",
    ),
    "dimensions": (lambda: spec("half") + tensor("x", FLOAT, field(2, b"\x12\x00" * 2**20)), "RESOURCE_EXHAUSTED"),
    "a few dimensions": (
        lambda: spec("half") + tensor("x", FLOAT, field(2, b"\x12\x00" * (MOST_FIELDS // 2))),
        "INVALID_ARGUMENT",
    ),
    "inputs": (lambda: spec("half") + b"\x12\x00" * 2**20, "RESOURCE_EXHAUSTED"),
    "a few inputs": (lambda: spec("half") + b"\x12\x00" * (MOST_FIELDS // 2), "INVALID_ARGUMENT"),
    "names of inputs": (
        lambda: spec("half") + b"".join(field(2, field(1, b"%d" % index)) for index in range(100_000)),
        "INVALID_ARGUMENT",
    ),
    "outputs": (lambda: spec("half") + b"\x1a\x00" * 2**20, "RESOURCE_EXHAUSTED"),
    "empty strings": (
        lambda: spec("odd") + tensor("text", STRING, shape(2**20), b"\x42\x00" * 2**20),
        "RESOURCE_EXHAUSTED",
    ),
    "packed numbers": (
        lambda: spec("odd") + tensor("number", b"\x08\x09", shape(2**21), field(10, b"\x01" * 2**21)),
        "INVALID_ARGUMENT",
    ),
    "a name": (lambda: spec("x" * 2**22), "NOT_FOUND"),
    "a signature's name": (lambda: spec("half", "x" * 2**22), "FAILED_PRECONDITION"),
    "messages in messages": (lambda: b"\x12" * 2**21, "RESOURCE_EXHAUSTED"),
    "a PNG's pixels": (lambda: photos([png_header(50_000, 50_000)], [b"dog"]), "RESOURCE_EXHAUSTED"),
    "a JPEG's pixels": (lambda: photos([jpeg_header(50_000, 50_000)], [b"dog"]), "RESOURCE_EXHAUSTED"),
    "the pixels of many little bombs": (
        lambda: photos([png_header(2000, 2000)] * 60, [b"dog"] * 60),
        "RESOURCE_EXHAUSTED",
    ),
    "sentences on a big photo": (lambda: photos([BIG_PHOTO], MANY, "segment_expressions"), "RESOURCE_EXHAUSTED"),
    "sentences": (lambda: photos([photo_bytes()], [b"dog"] * 1025, "segment_expressions"), "RESOURCE_EXHAUSTED"),
    "photos": (lambda: photos([photo_bytes()] * 1025, [b"dog"] * 1025), "RESOURCE_EXHAUSTED"),
}
