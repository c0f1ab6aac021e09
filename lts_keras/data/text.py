"""Expressions to token ids: one implementation, in graph operations, for training and for the served graph.

Order of the steps:

 1. Bytes that are not UTF-8 and control characters become spaces; invisible characters (zero-width, soft hyphen,
    variation selectors) go away.
 2. Typographic apostrophes, quotes and dashes become `'`, `"` and `-`.
 3. TF Text: NFKC, case folding, NFKC again (folding may leave text that is not normalized).
 4. Token rules: `. , ' ! ? " ( ) * # : ;` are dropped, `-` and `/` become a space, words are split at white space.

Accents are kept: they tell words apart in many languages, and word-vector files have accented words.
"""

import collections
import itertools

import tensorflow as tf
import tensorflow_text as tf_text

from lts_keras.data.schema import DataError
from lts_keras.data.words import APOSTROPHES, DASHES, DROPPED, INVISIBLE, QUOTES, SLASHES, SPACED, has_word
from lts_keras.utils import files

__all__ = [
    "PADDING",
    "UNKNOWN",
    "Tokenizer",
    "build_vocabulary",
    "has_words",
    "normalize",
    "read_vocabulary",
    "split_words",
    "unknown_rate",
    "write_vocabulary",
]

PADDING, UNKNOWN = 0, 1
_FIRST_WORD = 2
_BATCH = 4096

_SPACES = r"[\pZ\p{Cc}\p{Co}\p{Cs}]+"


def normalize(expressions):
    """Brings expressions to one spelling of characters; words and punctuation stay.

    Args:
        expressions: string tensor of any shape, UTF-8; other bytes are read as spaces.

    Returns:
        String tensor of the same shape: NFKC, case folded, ASCII apostrophes, quotes, dashes and slashes, single
        spaces, none at the ends. Normalizing twice changes nothing.
    """
    text = tf.strings.unicode_transcode(
        expressions, "UTF-8", "UTF-8", errors="replace", replacement_char=ord(" "), replace_control_characters=True
    )
    text = _ascii_punctuation(text)
    text = tf_text.normalize_utf8(text, "NFKC")
    text = tf_text.normalize_utf8(tf_text.case_fold_utf8(text), "NFKC")
    # NFKC writes some single characters with several, among them quotes, dashes and spaces.
    text = _ascii_punctuation(text)
    return tf.strings.strip(tf.strings.regex_replace(text, _SPACES, " "))


def split_words(expressions):
    """Splits expressions into the words that the vocabulary holds.

    Args:
        expressions: string tensor of shape `(n,)`, as written by people.

    Returns:
        Ragged string tensor of shape `(n, None)`; an expression without a word gives an empty row.
    """
    text = tf.strings.regex_replace(normalize(expressions), DROPPED, "")
    return tf.strings.split(tf.strings.regex_replace(text, SPACED, " "))


def has_words(texts):
    """Returns a list of bool: whether `split_words` finds a word in each of `texts`, a sequence of str.

    Without TensorFlow's work, by the rule of `has_word`, which is the same for every character there is.
    """
    return [has_word(text) for text in texts]


def _ascii_punctuation(text):
    text = tf.strings.regex_replace(text, INVISIBLE, "")
    text = tf.strings.regex_replace(text, APOSTROPHES, "'")
    text = tf.strings.regex_replace(text, QUOTES, '"')
    text = tf.strings.regex_replace(text, DASHES, "-")
    return tf.strings.regex_replace(text, SLASHES, "/")


class Tokenizer(tf.Module):
    """Turns expressions into rows of token ids.

    Ids: 0 padding, 1 unknown, words from 2 in the order of the vocabulary. The lookup table is tracked, so that a
    `tf.Module` that holds a tokenizer can be saved with `tf.saved_model.save`.

    Args:
        vocabulary: list of words as `split_words` gives them.
        max_tokens: int. Length T of a row; further words are cut off.

    Call arguments:
        expressions: string tensor of any shape.

    Returns:
        int32 tensor of the shape of `expressions` and one more axis of T ids, padded on the right.
    """

    padding, unknown = PADDING, UNKNOWN

    def __init__(self, vocabulary, max_tokens):
        super().__init__(name="tokenizer")
        self.vocabulary = list(check_vocabulary(vocabulary))
        self.max_tokens = max_tokens
        # A table of nothing cannot be initialized; no word can be this key.
        keys = self.vocabulary or [" "]
        ids = tf.range(_FIRST_WORD, _FIRST_WORD + len(keys), dtype=tf.int64)
        initializer = tf.lookup.KeyValueTensorInitializer(tf.constant(keys), ids)
        self._table = tf.lookup.StaticHashTable(initializer, default_value=UNKNOWN)

    @property
    def vocabulary_size(self):
        """Number of ids: the words, padding and unknown."""
        return len(self.vocabulary) + _FIRST_WORD

    def word_ids(self, expressions):
        """Ids of all words: string `(n,)` -> int32 ragged `(n, None)`, neither cut nor padded."""
        words = split_words(expressions)
        return words.with_values(tf.cast(self._table.lookup(words.values), tf.int32))

    def __call__(self, expressions):
        """Token ids of expressions, see the class."""
        expressions = tf.convert_to_tensor(expressions, tf.string)
        ids = self.word_ids(tf.reshape(expressions, [-1]))
        rows = ids.to_tensor(default_value=PADDING, shape=[None, self.max_tokens])
        result = tf.reshape(rows, tf.concat([tf.shape(expressions), [self.max_tokens]], 0))
        result.set_shape(expressions.shape.concatenate([self.max_tokens]))
        return result


def build_vocabulary(expressions, min_count=1):
    """Collects the words of expressions; give it those of the train split alone.

    Args:
        expressions: iterable of str, read once, a few thousand at a time.
        min_count: int. Rarer words are left out.

    Returns:
        List of words, commonest first, equally common ones in alphabetical order.
    """
    counts = _count_words(expressions)
    return sorted((word for word in counts if counts[word] >= min_count), key=lambda word: (-counts[word], word))


def unknown_rate(expressions, vocabulary):
    """Returns the share of word tokens in `expressions` (iterable of str) that are not in `vocabulary`; 0.0 of none."""
    counts, known = _count_words(expressions), set(vocabulary)
    total = sum(counts.values())
    return sum(count for word, count in counts.items() if word not in known) / total if total else 0.0


def write_vocabulary(path, vocabulary):
    """Writes words one a line in UTF-8, the first one being id 2; aside first, then renamed."""
    files.atomic_write(path, "".join(f"{word}\n" for word in check_vocabulary(vocabulary)))


def read_vocabulary(path):
    """Reads what `write_vocabulary` wrote.

    Raises:
        DataError: for a file that is missing, not UTF-8, or holds something else than different words, one a line.
    """
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            words = file.read().split("\n")
    except OSError as error:
        raise DataError(f"{path}: cannot read the vocabulary: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the vocabulary is not UTF-8 text") from error
    if words.pop() != "":
        raise DataError(f"{path}: the vocabulary is cut short: its last line has no end")
    return check_vocabulary(words, origin=path)


def check_vocabulary(words, origin="vocabulary"):
    """Returns `words` if all are different words without white space, else raises `DataError`."""
    seen = set()
    for number, word in enumerate(words, start=1):
        if word.split() != [word]:
            raise DataError(f"{origin}: line {number} is not one word. Received: {word!r}")
        if word in seen:
            raise DataError(f"{origin}: line {number} repeats a word. Received: {word!r}")
        seen.add(word)
    return words


def _count_words(expressions):
    """Counter of the words of an iterable of str, in bounded memory but for the counter."""
    counts, rest = collections.Counter(), iter(expressions)
    while batch := list(itertools.islice(rest, _BATCH)):
        counts.update(split_words(tf.constant(batch, tf.string)).values.numpy().tolist())
    return collections.Counter({word.decode("utf-8"): count for word, count in counts.items()})
