"""One line of a manifest: what it may hold, and how a wrong one is named."""

import json
import re
from typing import Annotated

import pydantic
from pydantic import Field

from lts_keras.data.schema import DataError
from lts_keras.data.sources.fields import short, utf8

__all__ = ["ObjectLine", "PhotoLine", "manifest_schema", "parse_line"]

# A side is a 32-bit float in the records.
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e9, le=1e9)]


def _whole(value):
    """48 for 48.0, as some writers of JSON have it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _utf8(value):
    if not utf8(value):
        raise ValueError("expected: text that UTF-8 can hold; half of a surrogate pair stands in it")
    return value


Whole = Annotated[int, pydantic.BeforeValidator(_whole)]
Text = Annotated[str, pydantic.AfterValidator(_utf8)]


class _Line(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)


class RunLength(_Line):
    """COCO's run-length mask."""

    size: Annotated[list[Whole], Field(min_length=2, max_length=2, description="[height, width] of the photo")]
    counts: Annotated[Text | list[Whole], Field(description="compressed text, or a list of run lengths")]


class ObjectLine(_Line):
    """One object and the expressions that refer to it. Give one of `polygons`, `rle`, `mask`, `box`, `no_target`."""

    expressions: Annotated[list[Text], Field(min_length=1, description="sentences that refer to this object alone")]
    polygons: Annotated[
        list[Annotated[list[Number], Field(min_length=6)]] | None,
        Field(default=None, min_length=1, description="outlines [x0, y0, x1, y1, ...] in pixels; several are joined"),
    ]
    rle: Annotated[RunLength | None, Field(default=None, description="COCO run-length mask")]
    mask: Annotated[
        Text | None,
        Field(
            default=None,
            min_length=1,
            description="path of a PNG of the photo's size, beside the manifest; docs/own-data.md says what is inside",
        ),
    ]
    box: Annotated[
        list[Number] | None,
        Field(
            default=None,
            min_length=4,
            max_length=4,
            description="[x0, y0, x1, y1] in pixels; alone it trains the locating part, beside a mask it is compared",
        ),
    ]
    no_target: Annotated[bool, Field(default=False, description="true where the photo has no such object")]
    category: Annotated[Text, Field(default="", description="class name, for the statistics")]
    ref_id: Annotated[
        Text | None, Field(default=None, description="unique in the file; made from the place if left out")
    ]
    split: Annotated[Text | None, Field(default=None, min_length=1, description="instead of the photo's")]

    @pydantic.model_validator(mode="after")
    def _one_region(self):
        given = [name for name in ("polygons", "rle", "mask") if getattr(self, name) is not None]
        given += ["no_target"] if self.no_target else []
        if len(given) > 1 or (self.no_target and self.box) or not (given or self.box):
            given += ["box"] if self.box else []
            raise ValueError(
                "an object has one of polygons, rle, mask (each with or without box), box, no_target. "
                f"Received: {', '.join(given) or 'none'}"
            )
        return self


class PhotoLine(_Line):
    """One photo: a line of the manifest."""

    image: Annotated[Text, Field(min_length=1, description="path of a JPEG or PNG, relative to the manifest's folder")]
    objects: Annotated[list[ObjectLine], Field(min_length=1)]
    split: Annotated[Text, Field(default="train", min_length=1, description="train, val, test or any other name")]
    coco_id: Annotated[
        Whole | None, Field(default=None, description="number of the photo in COCO, so that leaks are found by it too")
    ]


def manifest_schema():
    """Returns the JSON schema of one line, as `lts_keras/data/manifest.schema.json` holds it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **PhotoLine.model_json_schema(),
        "title": "One line of an LTS manifest",
    }


def parse_line(content, place):
    """Reads a line.

    Args:
        content: bytes of the line, UTF-8.
        place: words that name it: file and number.

    Returns:
        `PhotoLine`.

    Raises:
        DataError: not JSON, or of another form; the message names place, key, what was found and what would be right.
    """
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        line = PhotoLine.model_validate_json(content)
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"] if not str(part).startswith("function"))
        words = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "json_invalid":
            # A text that is no JSON is its own input, and the message has the place in it.
            words = re.sub(r" at line \d+ column (\d+)$", r" at column \1", words)
            words += f"; expected: one JSON object in one line, in UTF-8{_encoding_of(content)}"
        elif "Received" not in words and problem["type"] != "missing":
            words += f". Received: {short(problem['input'])}"
        raise DataError(f"{place}: {key + ': ' if key else ''}{' '.join(words.split())}") from None
    twice = _key_twice(content)
    if twice:
        raise DataError(f"{place}: an object has the key {twice} twice; expected: once")
    return line


def _encoding_of(content):
    """Words on why a line may not be UTF-8, where its bytes tell."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content:
        return ". Received: UTF-16 or binary data"
    if re.search(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]", content):
        return ". Received: half of a surrogate pair, as of an emoji that was cut"
    return ""


def _key_twice(content):
    """The first key that an object of a JSON text has twice, or `None`; the last value would win in silence."""
    found = []

    def look(pairs):
        names = [key for key, _ in pairs]
        if len(set(names)) < len(names):
            found.append(short(next(key for key in names if names.count(key) > 1)))

    json.loads(content, object_pairs_hook=look)
    return found[0] if found else None
