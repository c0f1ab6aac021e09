"""A folder of another model's features and coarse masks: its header, its index, and the files of its sentences."""

import concurrent.futures
import dataclasses
import hashlib
import json
import math
from pathlib import Path

from lts_keras.data.features.files import look_at, read_sentence
from lts_keras.data.schema import DataError

__all__ = ["HEADER_FILE", "INDEX_FILE", "FeatureFolder", "FeatureHeader", "open_features", "sentence_key"]

HEADER_FILE, INDEX_FILE = "features.json", "index.jsonl"
FORMAT = 1
_INDEX_KEYS = ("file", "dataset", "ref_id", "expression")
_THREADS = 8


@dataclasses.dataclass(frozen=True)
class FeatureHeader:
    """What is the same for all sentences of a folder; `features.json` holds it.

    Attributes:
        channels: int, of the features.
        grid: int, cells along a side of features and coarse mask.
        image_size: int, side in pixels of the square that the other model saw; a multiple of `2 * grid`.
        image_resize: how photos became that square, `"letterbox"` (their shape kept, centred) or `"plain"` (stretched).
        prior: `"logits"` or `"probabilities"`, what the coarse masks hold.
        threshold: float, probability above which a pixel belongs to the other model's own mask.
        model: str, which model it is, for people.
    """

    channels: int
    grid: int
    image_size: int
    image_resize: str = "letterbox"
    prior: str = "logits"
    threshold: float = 0.5
    model: str = ""

    @classmethod
    def read(cls, path):
        """Reads `features.json`; raises `DataError` naming the key that is wrong."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(f"{path}: no such file; a folder of features has one, see docs/refiner.md") from None
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{path}: not JSON that can be read: {' '.join(str(error).split())}") from error
        if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
            raise DataError(f"{path}: must be an object with format: {FORMAT}. Found: {str(values)[:80]}")
        names = {field.name for field in dataclasses.fields(cls)}
        for key in values.keys() - names:
            raise DataError(f"{path}: unknown key {key}; known are {', '.join(sorted(names))}")
        for key in ("channels", "grid", "image_size"):
            if type(values.get(key)) is not int or values[key] < 1:
                raise DataError(f"{path}: {key} must be a whole number above 0. Found: {values.get(key)!r}")
        header = cls(**values)
        header._check(path)
        return header

    def _check(self, path):
        if self.image_size % (2 * self.grid):
            raise DataError(
                f"{path}: image_size must be a multiple of twice the grid, {2 * self.grid}. Found: {self.image_size}"
            )
        for key, known in (("image_resize", ("letterbox", "plain")), ("prior", ("logits", "probabilities"))):
            if getattr(self, key) not in known:
                raise DataError(f"{path}: {key} must be {' or '.join(known)}. Found: {getattr(self, key)!r}")
        if type(self.threshold) is not float or not 0 < self.threshold < 1:
            raise DataError(f"{path}: threshold must be a probability between 0 and 1. Found: {self.threshold!r}")
        if not isinstance(self.model, str):
            raise DataError(f"{path}: model must be text. Found: {self.model!r}")

    def to_json(self):
        """Plain values, as `features.json` holds them."""
        return {"format": FORMAT, **dataclasses.asdict(self)}


def sentence_key(dataset, ref_id, expression):
    """What ties a file to a sentence of prepared data: data set, ref and text, whatever the white space in it."""
    return str(dataset), str(ref_id), " ".join(str(expression).split())


class FeatureFolder:
    """A folder whose header, index and files were looked at.

    Args:
        folder: path.

    Attributes:
        folder: `Path`.
        header: `FeatureHeader`.
        files: dict `sentence_key` -> `Path`.
        lines: dict `sentence_key` -> number of its line in the index.
        digest: SHA-256 as hexadecimal text of everything that decides a training: header, sentences and the files'
            check sums; neither names nor places of files.

    Raises:
        DataError: naming the file, the line or the key that is wrong.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DataError(f"data.features: {folder}: no such folder; `lts write-features` makes one")
        self.header = FeatureHeader.read(self.folder / HEADER_FILE)
        self.files, self.lines = _read_index(self.folder)
        self.digest = self._digest()

    def read(self, dataset, ref_id, expression):
        """Returns `(features, prior)` of one sentence, see `read_sentence`."""
        key = sentence_key(dataset, ref_id, expression)
        if key not in self.files:
            raise missing(self, key)
        return read_sentence(self.files[key], self.header)

    def check_channels(self, channels):
        """Raises `DataError` where a refiner takes another number of channels."""
        if channels != self.header.channels:
            raise DataError(
                f"{self.folder / HEADER_FILE}: its features have {self.header.channels} channels, so "
                f"model.refiner_channels must be {self.header.channels}. Received: {channels}"
            )

    def _digest(self):
        paths = sorted(set(self.files.values()))
        with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
            # Of the first wrong file in order, so that the same folder always says the same.
            sums = dict(zip(paths, pool.map(lambda path: look_at(path, self.header), paths), strict=True))
        total = hashlib.sha256(json.dumps(self.header.to_json() | {"model": ""}, sort_keys=True).encode())
        for key, path in sorted(self.files.items()):
            total.update(json.dumps([*key, *sums[path]]).encode())
        return total.hexdigest()


def open_features(folder):
    """A `FeatureFolder`, the same one as long as header and index are the same: a command looks at the files once."""
    folder = Path(folder)
    stamps = []
    for name in (HEADER_FILE, INDEX_FILE):
        try:
            stat = (folder / name).stat()
            stamps.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
        except OSError:
            stamps.append(math.nan)  # never equal: what is not there is said each time
    key = (str(folder.absolute()), *stamps)
    if key not in _opened:
        opened = FeatureFolder(folder)
        _opened.clear()
        _opened[key] = opened
    return _opened[key]


_opened: dict = {}


def missing(features, key):
    """The error of a sentence that has no file."""
    dataset, ref_id, expression = key
    return DataError(
        f"{features.folder / INDEX_FILE}: no line for the sentence {expression!r} of ref {ref_id} of {dataset}, which "
        "the prepared data has; every sentence of the splits that are used needs one"
    )


def _read_index(folder):
    path, files, lines = folder / INDEX_FILE, {}, {}
    try:
        texts = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; it comes last, so the folder is not whole") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        value = _line(text, f"{path}: line {number}")
        key, file = sentence_key(value["dataset"], value["ref_id"], value["expression"]), folder / value["file"]
        if files.setdefault(key, file) != file:
            raise DataError(f"{path}: line {number}: the sentence of line {lines[key]} with another file")
        lines.setdefault(key, number)
    if not files:
        raise DataError(f"{path}: no lines; each names the file of a sentence")
    return files, lines


def _line(text, place):
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise DataError(f"{place}: must be a JSON object with {', '.join(_INDEX_KEYS)}. Found: {text[:60]!r}")
    for key in _INDEX_KEYS:
        right = isinstance(value.get(key), str) or (key == "ref_id" and type(value.get(key)) is int)
        if not right:
            raise DataError(f"{place}: {key} must be text. Found: {value.get(key)!r}")
    name = Path(value["file"])
    if name.is_absolute() or ".." in name.parts or not name.name:
        raise DataError(f"{place}: file must be a path inside the folder. Found: {value['file']!r}")
    return value
