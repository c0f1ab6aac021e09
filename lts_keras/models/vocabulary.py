"""The words that a model knows: those of the train split, and others whose vectors a file has."""

import itertools

import tensorflow as tf

from lts_keras.data.text import split_words
from lts_keras.weights.glove import glove_words

__all__ = ["model_vocabulary"]

_BATCH = 4096


def model_vocabulary(config, words, progress=None):
    """Adds words of `weights.glove` to those of the train split, as `weights.glove_words` says.

    Training never sees the further words, so no gradient changes their vectors: they stay where the file puts them,
    beside words of the same meaning that training did see. Without them, each is the unknown word.

    Args:
        config: `Config`.
        words: list of str, the words of the train split; or `None`.
        progress: function that takes a line of text.

    Returns:
        List of str: `words`, then as many as `weights.glove_words` of the file's in its order, commonest first: those
        that the tokenizer leaves as they are. `words` itself where that is 0, no file is given or `words` is `None`.

    Raises:
        WeightsError: as `glove_words`.
    """
    path, count = config.weights.glove, config.weights.glove_words
    if not count or words is None or path in (None, "random"):
        return words
    known, further = set(words), []
    candidates = glove_words(path, config.model.embedding_dim)
    while len(further) < count and (batch := list(itertools.islice(candidates, _BATCH))):
        for word, parts in zip(batch, split_words(tf.constant(batch)).to_list(), strict=True):
            if len(further) < count and word not in known and parts == [word.encode("utf-8")]:
                known.add(word)
                further.append(word)
    if progress:
        progress(f"vocabulary: {len(words):,} words of train and {len(further):,} more of {path}")
    return [*words, *further]
