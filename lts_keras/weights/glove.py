"""Reader of GloVe text files: a word and its numbers on each line, separated by single spaces; UTF-8."""

import codecs
import dataclasses
from pathlib import Path

import numpy as np

from lts_keras.weights import WeightsError

__all__ = ["GloveReport", "glove_words", "load_glove", "read_glove"]

_RANDOM_DEVIATION = 0.3
_LARGEST = float(np.finfo("float32").max)


@dataclasses.dataclass(frozen=True)
class GloveReport:
    """How much of a vocabulary a GloVe file covers."""

    path: str
    dim: int
    num_lines: int
    """Vectors in the file."""
    num_words: int
    """Words in the vocabulary."""
    missing: tuple[str, ...]
    """Words of the vocabulary without a vector, in its order."""

    @property
    def num_found(self):
        """Words of the vocabulary with a vector."""
        return self.num_words - len(self.missing)

    @property
    def coverage(self):
        """Share of the words with a vector, 0..1; 1 for an empty vocabulary."""
        return self.num_found / self.num_words if self.num_words else 1.0

    def __str__(self):
        return (
            f"{self.path} ({self.num_lines:,} vectors of {self.dim}): {self.num_found} of {self.num_words} words found "
            f"({self.coverage:.1%}), {len(self.missing)} random"
        )


def load_glove(path, vocabulary, dim=300, seed=0):
    """Makes an embedding matrix of a GloVe file.

    Args:
        path: path of the text file.
        vocabulary: sequence of str, the words of ids 2, 3, ...
        dim: int. Numbers of each vector. Defaults to `300`.
        seed: int. Of the words that the file does not have.

    Returns:
        Tuple of a float32 array `(len(vocabulary) + 2, dim)` and a `GloveReport`. Row 0, the padding, is zero; row 1,
        the unknown word, and the words without a vector are random with the spread of those that were found.

    Raises:
        WeightsError: as `read_glove`.
    """
    vectors, num_lines = read_glove(path, vocabulary, dim)
    spread = float(np.std(list(vectors.values()))) if vectors else _RANDOM_DEVIATION
    matrix = np.random.default_rng(seed).normal(0, spread, (len(vocabulary) + 2, dim)).astype("float32")
    matrix[0] = 0
    for row, word in enumerate(vocabulary, start=2):
        if word in vectors:
            matrix[row] = vectors[word]
    missing = tuple(word for word in vocabulary if word not in vectors)
    return matrix, GloveReport(str(path), dim, num_lines, len(vocabulary), missing)


def read_glove(path, words, dim=None):
    """Reads the vectors of some words, line by line; the file may be far larger than memory.

    Every line must have the right width; the numbers are read, and checked, for the wanted words alone. Where a word
    stands twice, the first counts. A byte order mark, and a first line of two counts as word2vec writes it, are passed
    over.

    Args:
        path: path of the text file.
        words: iterable of str.
        dim: int. Numbers of each vector; as many as the first line has, if not given.

    Returns:
        Tuple of `{word: float32 array (dim,)}` and the number of vectors in the file.

    Raises:
        WeightsError: for a file that is missing, empty or no UTF-8 text, a line of the wrong width or one with a
            non-number, naming file and line.
    """
    wanted = {word.encode("utf-8"): word for word in words}
    vectors, num_lines = {}, 0
    for number, name, line, width in _lines(path, dim):
        num_lines += 1
        word = wanted.get(name)
        if word is not None and word not in vectors:
            vectors[word] = _vector(path, number, line, width)
    return vectors, num_lines


def glove_words(path, dim=None):
    """Yields the words of a file in its order, which is that of their frequency; without those with spaces in them.

    Args:
        path: path of the text file.
        dim: int. As for `read_glove`.

    Yields:
        str; a word that stands twice comes twice, one that is not UTF-8 does not come.

    Raises:
        WeightsError: as `read_glove`, but no number is looked at.
    """
    for _, name, _, _ in _lines(path, dim):
        word = (name or b"").decode("utf-8", "ignore")
        if word and word.encode("utf-8") == name:
            yield word


def _lines(path, dim):
    """Yields `(number, word, line, dim)` of every vector, word and line as bytes; of a word with spaces `None`."""
    path, found = Path(path), False
    try:
        with path.open("rb", buffering=1 << 20) as file:
            for number, line in enumerate(file, start=1):
                if number <= 2:
                    line = _check_text(path, number, line)
                line = line.rstrip()
                if number == 1 and dim != 1 and _is_counts(line):
                    continue
                dim, found = dim or line.count(b" "), True
                # Counting spaces is all that most lines cost: 400,000 of them take two seconds.
                if line.count(b" ") == dim:
                    yield number, line[: line.find(b" ")], line, dim
                else:
                    _refuse_width(path, number, line, dim)
                    yield number, None, line, dim
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the word vectors: {error.strerror or error}") from error
    if not found:
        raise WeightsError(f"{path}: holds no word vectors ({path.stat().st_size} bytes)")


def _check_text(path, number, line):
    """Returns one of the first two lines without its byte order mark, if it is text that can hold vectors."""
    kind = None
    if number == 1 and line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, b"\0\0\xfe\xff")):
        kind = "UTF-16 or UTF-32 text"
    elif number == 1 and line.startswith((b"PK\x03\x04", b"\x1f\x8b")):
        kind = "a compressed file"
    elif b"\0" in line:
        # The text of 16 bits without a mark; the numbers of word2vec's .bin, behind its line of counts.
        kind = "UTF-16 text or binary"
    if kind:
        raise WeightsError(
            f"{path}: word vectors are read from UTF-8 text, a word and its numbers on each line. Received: {kind}"
        )
    return line.removeprefix(codecs.BOM_UTF8) if number == 1 else line


def _is_counts(line):
    parts = line.split(b" ")
    return len(parts) == 2 and all(part.isdigit() for part in parts)


def _refuse_width(path, number, line, dim):
    """Raises, unless the line is too wide because its word has spaces in it, as a few of the 840B file have."""
    fields = line.split(b" ")
    if dim and len(fields) > dim + 1 and b"" not in fields and not any(map(_is_number, fields[1:-dim])):
        return
    if not dim:
        raise WeightsError(f"{path}, line {number}: not a line of word vectors, which is a word and its numbers")
    received = f"{len(fields) - 1} numbers"
    if len(fields) > dim + 1 and b"" in fields:
        received = "a space at its start, or two spaces in a row"
    raise WeightsError(f"{path}, line {number}: a line has a word and {dim} numbers. Received: {received}")


def _is_number(field):
    try:
        return abs(float(field)) < _LARGEST  # neither NaN nor infinity is below
    except ValueError:
        return False


def _vector(path, number, line, dim):
    fields = line.split(b" ")[-dim:]
    for field in fields:
        if not _is_number(field):
            received = field.decode("utf-8", "replace")[:40]
            raise WeightsError(f"{path}, line {number}: a vector is made of numbers. Received: {received!r}")
    return np.array([float(field) for field in fields], "float32")
