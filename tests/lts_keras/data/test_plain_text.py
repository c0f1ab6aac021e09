"""Words without TensorFlow are the words that training saw."""

import unicodedata

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from lts_keras.data.plain_text import PlainTokenizer, split_plain_words
from lts_keras.data.text import Tokenizer, split_words

TRICKY = [
    "The man’s LEFT shoe, 2nd row!",
    "“straße” ß ẞ ﬁre Ǆ ŉ",
    "İstanbul ıI KELVIN K Å",
    "a\u200bb co\u00adop \ufeffx \u2060y",
    "left/right red-and-blue -- / //",
    "²³ ½ ① ㎏ ﷺ Ⅷ",
    "e\u0301 é \u0301e ё q\u0323\u0307 q\u0307\u0323",
    "ΑΣ ΣΑΣ ός",
    "tab\tline\nnull\0end \x1f \x7f \x85",
    "full　width ＡＢＣ！？",
    "각 \u1100\u1161\u11a8 ﾊﾟ が",
    "👩‍👩‍👧 🏳️‍🌈 dog",
    "\u0345 α\u0345 ᾳ ΐ",
    "",
    " ... ",
]
# Python knows the characters of Unicode 14, TF Text some hundred newer ones that it folds.
KNOWN = st.text(
    st.characters(exclude_categories=("Cs", "Cn"), codec="utf-8").filter(lambda one: unicodedata.category(one) != "Cn")
)


def by_tensorflow(texts):
    return [[word.decode() for word in row] for row in split_words(tf.constant(texts, tf.string)).to_list()]


def test_tricky_sentences_are_split_alike():
    assert [split_plain_words(text) for text in TRICKY] == by_tensorflow(TRICKY)
    assert split_plain_words(TRICKY[0]) == ["the", "mans", "left", "shoe", "2nd", "row"]


def test_every_known_character_is_read_alike():
    texts = [f"a{chr(code)}b" for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cs", "Cn")]
    # Private use and CJK by their first ones: 200,000 characters of the same kind.
    texts = [text for text in texts if not 0x4E10 < ord(text[1]) < 0x9FF0 and not 0x20010 < ord(text[1]) < 0x10FFF0]
    assert len(texts) > 40_000
    assert [split_plain_words(text) for text in texts] == by_tensorflow(texts)


@given(texts=st.lists(KNOWN, min_size=1, max_size=40))
def test_any_sentence_is_split_alike(texts):
    assert [split_plain_words(text) for text in texts] == by_tensorflow(texts)


def test_ids_are_the_tokenizers():
    vocabulary = ["the", "left", "straße", "dog"]
    texts = [*TRICKY, "the left dog the left dog", "the ßtrange"]
    expected = Tokenizer(vocabulary, 4)(texts).numpy()
    found = PlainTokenizer(vocabulary, 4)(texts)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.int32 and found[-2].tolist() == [2, 3, 5, 2]
