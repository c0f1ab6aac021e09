"""Findings about the sentences of all data, which can be told only when the words of train are known."""

import collections
import dataclasses

import tensorflow as tf

from lts_keras.data.schema import one_line
from lts_keras.data.text import split_words

__all__ = ["Sentences", "read_sentences"]

_BATCH = 8192
_EXAMPLES = 3
_WORDS = 8


@dataclasses.dataclass(frozen=True)
class Sentences:
    """What was found in the sentences of a slice.

    Attributes:
        too_long: number of sentences of more words than the model reads.
        num_unknown: words, counted as often as they stand there, that train does not have.
        share_unknown: share of all words, 0..1.
        most_unknown: the commonest of them, at most 8.
        examples: dict, kind -> list of `{"photo_id", "ref_id", "slice", "message"}`, at most 3 of different photos.
    """

    too_long: int
    num_unknown: int
    share_unknown: float
    most_unknown: tuple[str, ...]
    examples: dict


def read_sentences(name, one, max_tokens, known=None):
    """Reads all sentences of a slice as the model does.

    Args:
        name: of the slice, `<dataset>/<split>`.
        one: the slice of `Statistics.to_json`.
        max_tokens: int, words that the model reads.
        known: words of train, or `None` for the train split itself and where there is none.

    Returns:
        `Sentences`.
    """
    known = None if known is None else {word.encode() for word in known}
    too_long, num_words, unknown = 0, 0, collections.Counter()
    examples = {"too_long_expressions": [], "unknown_words": []}
    owners = _owners(one)
    for start in range(0, len(one["texts"]), _BATCH):
        texts = one["texts"][start : start + _BATCH]
        rows = split_words(tf.constant(texts, tf.string))
        lengths, words = rows.row_lengths().numpy(), rows.values.numpy()
        num_words += len(words)
        begin = 0
        for text, length in zip(texts, lengths, strict=True):
            owner, row = next(owners), words[begin : begin + length]
            begin += length
            if length > max_tokens:
                too_long += 1
                shown = f"{length} words: {text[:120]!r}"
                _keep(examples["too_long_expressions"], name, owner, shown)
            missing = [word for word in row if word not in known] if known is not None else ()
            if missing:
                unknown.update(missing)
                shown = ", ".join(dict.fromkeys(word.decode() for word in missing))
                _keep(examples["unknown_words"], name, owner, f"not in train: {shown[:100]}, in {text[:120]!r}")
    common = sorted(unknown, key=lambda word: (-unknown[word], word))[:_WORDS]
    return Sentences(
        too_long=too_long,
        num_unknown=unknown.total(),
        share_unknown=unknown.total() / num_words if num_words else 0.0,
        most_unknown=tuple(word.decode() for word in common),
        examples=examples,
    )


def _owners(one):
    """(photo id, ref id) of every text, in order."""
    for photo_id, ref_id, count in zip(one["photo_ids"], one["ref_ids"], one["num_texts"], strict=True):
        for _ in range(count):
            yield photo_id, ref_id


def _keep(examples, name, owner, words):
    photo_id, ref_id = owner
    if len(examples) < _EXAMPLES and all(example["photo_id"] != photo_id for example in examples):
        message = f"{photo_id}: ref {ref_id} of {name}: {words}"
        examples.append({"photo_id": photo_id, "ref_id": ref_id, "slice": name, "message": one_line(message)})
