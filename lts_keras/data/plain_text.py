"""Expressions to token ids in Python alone: what `lts_keras.data.text.Tokenizer` gives, without TensorFlow."""

import re
import unicodedata

import numpy as np

from lts_keras.data.words import APOSTROPHES, DASHES, DROPPED, INVISIBLE, QUOTES, SLASHES, SPACED

__all__ = ["PlainTokenizer", "split_plain_words"]

_PADDING, _UNKNOWN, _FIRST_WORD = 0, 1, 2
_PUNCTUATION = [
    (re.compile(INVISIBLE), ""),
    (re.compile(APOSTROPHES), "'"),
    (re.compile(QUOTES), '"'),
    (re.compile(DASHES), "-"),
    (re.compile(SLASHES), "/"),
]
_CONTROL = re.compile("[\0-\x1f]")
_DROPPED, _SPACED = re.compile(DROPPED), re.compile(SPACED)
# What folding takes away beside what is invisible: all that Unicode calls "default ignorable".
_IGNORED = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


class PlainTokenizer:
    """Turns expressions into rows of token ids.

    Ids: 0 padding, 1 unknown, words from 2 in the order of the vocabulary.

    Args:
        vocabulary: sequence of str.
        max_tokens: int. Length T of a row; further words are cut off.

    Call arguments:
        expressions: list of str, K of them.

    Returns:
        int32 array `(K, T)`, padded on the right.
    """

    def __init__(self, vocabulary, max_tokens):
        self._ids = {word: number for number, word in enumerate(vocabulary, start=_FIRST_WORD)}
        self._max_tokens = max_tokens

    def __call__(self, expressions):
        """Token ids of expressions, see the class."""
        rows = np.full((len(expressions), self._max_tokens), _PADDING, np.int32)
        for row, expression in zip(rows, expressions, strict=True):
            ids = [self._ids.get(word, _UNKNOWN) for word in split_plain_words(expression)[: self._max_tokens]]
            row[: len(ids)] = ids
        return rows


def split_plain_words(expression):
    """Splits an expression into words, as `lts_keras.data.text.split_words`."""
    text = _ascii_punctuation(_CONTROL.sub(" ", expression))
    text = unicodedata.normalize("NFKC", text)
    text = unicodedata.normalize("NFKC", _fold(text))
    text = _SPACED.sub(" ", _DROPPED.sub("", _ascii_punctuation(text)))
    return [word for word in "".join(" " if _is_space(one) else one for one in text).split(" ") if word]


def _fold(text):
    """NFKC_Casefold: folded and normalized until nothing changes, without what nobody sees."""
    return unicodedata.normalize("NFKC", _IGNORED.sub("", text).casefold())


def _ascii_punctuation(text):
    for pattern, replacement in _PUNCTUATION:
        text = pattern.sub(replacement, text)
    return text


def _is_space(character):
    kind = unicodedata.category(character)
    return kind[0] == "Z" or kind in ("Cc", "Co", "Cs")
