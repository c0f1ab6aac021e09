"""The objects of an annotation file, read key by key: an error names file, kind, id, key, found and expected."""

import json
import math
import re

from lts_keras.data.schema import DataError

__all__ = ["Fields", "identity", "read_json", "short", "utf8"]

_ID = "a whole number or text"
_NUMBER = re.compile(r"-?[1-9][0-9]{0,18}|0")
_LARGEST_SIDE = 2**31 - 1  # that a PNG can have
_MISSING = object()


class Fields:
    """One object of a list in a file; made once for the list, and moved from object to object.

    Args:
        path: path of the file.
        kind: what the objects are: `"annotation"`.
        group: name of the list: `"annotations"`.
    """

    def __init__(self, path, kind, group):
        self.path, self.kind, self.group = path, kind, group
        self.values, self.index, self.name = {}, 0, None

    def at(self, index, values):
        """Moves to an object; raises `DataError` where it is none. Returns itself."""
        self.index, self.values, self.name = index, values, None
        if not isinstance(values, dict):
            self.values = {}
            raise self.error(None, values, "an object with keys")
        return self

    def error(self, key, found, expected):
        """A `DataError` that says what was found under a key of this object, and what would be right there."""
        name = self.kind if self.name is None else f"{self.kind} {short(self.name)}"
        place = f"{self.path}: {name} ({self.group}[{self.index}]): "
        if found is _MISSING:
            return DataError(f"{place}{key!r} is missing; expected: {expected}")
        return DataError(f"{place}{key + ': ' if key else ''}expected: {expected}. Received: {short(found)}")

    def identity(self, key, default=_MISSING):
        """An id: equal numbers and texts are equal, be they written as 7, 7.0 or "7"."""
        value = self.values.get(key, default)
        if value is default and default is not _MISSING:
            return value
        try:
            return identity(value)
        except (TypeError, ValueError):
            raise self.error(key, value, _ID) from None

    def own_identity(self, key="id", default=_MISSING):
        """The object's own id, by which later errors name it."""
        self.name = self.identity(key, default)
        return self.name

    def side(self, key):
        """Height or width of a picture in pixels: a whole number; 48.0 is one."""
        value = self.values.get(key, _MISSING)
        whole = int(value) if isinstance(value, float) and value.is_integer() else value
        if isinstance(whole, bool) or not isinstance(whole, int) or not 1 <= whole <= _LARGEST_SIDE:
            raise self.error(key, value, f"a whole number of pixels, 1 to {_LARGEST_SIDE}")
        return whole

    def text(self, key, default=_MISSING, filled=False):
        """Text; `filled`: not blank."""
        value = self.values.get(key, default)
        if value is default and default is not _MISSING:
            return value
        return self.check_text(key, value, filled)

    def check_text(self, key, value, filled=False):
        """`value` if it is text that UTF-8 can hold."""
        if not isinstance(value, str) or (filled and not value.strip()):
            raise self.error(key, value, "text" + (", not blank" if filled else ""))
        if not utf8(value):
            raise self.error(key, value, "text that UTF-8 can hold; half of a surrogate pair stands in it")
        return value

    def items(self, key):
        """A list."""
        value = self.values.get(key, _MISSING)
        if not isinstance(value, list | tuple):
            raise self.error(key, value, "a list")
        return value

    def corner_box(self, key):
        """COCO's `x, y, width, height` as `(x0, y0, x1, y1)`, in pixels."""
        value = self.values.get(key, _MISSING)
        expected = "x, y, width, height in pixels: four finite numbers, no side below 0"
        if not isinstance(value, list | tuple) or len(value) != 4:
            raise self.error(key, value, expected)
        for side in value:
            if isinstance(side, bool) or not isinstance(side, int | float) or not -1e9 < side < 1e9:
                raise self.error(key, value, expected)
        x, y, width, height = map(float, value)
        if width < 0 or height < 0:
            raise self.error(key, value, expected)
        return x, y, x + width, y + height

    def once(self, seen, key="id"):
        """Notes the object's own id; raises `DataError`, naming both places, where another object has it too."""
        first = seen.setdefault(self.name, self.index)
        if first != self.index:
            raise DataError(
                f"{self.path}: the {key} {short(self.name)} stands twice: {self.group}[{first}] and "
                f"{self.group}[{self.index}]; each {self.kind} needs one of its own"
            )


def identity(value):
    """The value that an id is compared by: 7 for 7, 7.0 and "7"; text for other text.

    Raises:
        TypeError: neither a number nor text.
        ValueError: a number that is not whole, or text that is blank or not to be held in UTF-8.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError("not an id")
    if isinstance(value, str):
        if not value.strip() or not utf8(value):
            raise ValueError("not an id")
        # "007" is not 7: such text is a name. Digits of other alphabets are none here.
        return int(value) if _NUMBER.fullmatch(value) else value
    # Python writes no number of over 4,300 digits as text; that of the largest float has 309.
    if (isinstance(value, float) and not value.is_integer()) or int(value).bit_length() > 1024:
        raise ValueError("not an id")
    return int(value)


def utf8(text):
    """Whether UTF-8 can hold a text: half of a surrogate pair, as a cut emoji in JSON gives, cannot be written."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def short(value):
    """A value in a line of a message: in ASCII, at most 60 characters."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    try:
        text = ""
        for part in json.JSONEncoder().iterencode(value):
            text += part
            if len(text) > 60:
                break  # The value may be as large as the file.
    except (TypeError, ValueError, RecursionError):
        try:
            text = ascii(value)
        except (ValueError, RecursionError):  # a number of thousands of digits
            text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def read_json(path, change=None):
    """Reads a JSON file.

    Args:
        path: path of the file.
        change: called with every object of the file as a dict; what it returns stands in its place.

    Raises:
        DataError: the file is missing, not JSON, or an object in it has a key twice; the message names it.
    """

    def made(pairs):
        item = dict(pairs)
        if len(item) != len(pairs):
            seen = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))
            named = next((f" of {key} {short(item[key])}" for key in ("id", "ref_id") if key in item), "")
            raise ValueError(f"an object{named} has the key {short(twice)} twice")
        return change(item) if change else item

    try:
        with open(path, "rb") as file:
            return json.loads(file.read(), object_pairs_hook=made)
    except OSError as error:
        raise DataError(f"{path}: cannot read the file: {error.strerror or error}") from error
    except RecursionError as error:
        raise DataError(f"{path}: not JSON: nested too deep") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {' '.join(str(error).split())}") from error
