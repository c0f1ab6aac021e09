import hypothesis
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from lts_keras.data.text import has_words, split_words
from lts_keras.data.words import has_word


def words_by_tokenizer(texts):
    content = [text.encode("utf-8", "surrogatepass") for text in texts]
    return (split_words(tf.constant(content)).row_lengths() > 0).numpy().tolist()


@pytest.mark.parametrize(
    "text",
    ["", " \t\n", "?!", "...", "…", "\u200b", "\u200d\ufe0f", "\ufeff", "— / -", "«»", "\xa0\u3000", "\x85", "\ud83d"],
)
def test_sentences_without_a_word(text):
    assert has_words([text, "dog"]) == words_by_tokenizer([text, "dog"]) == [False, True]


@pytest.mark.parametrize("text", ["a", "7", "?! 7", "кружка", "左", "🙂", "+", "é", "\u0301", "½", "\u200bdog\ud83d"])
def test_sentences_with_a_word(text):
    assert has_words([text]) == words_by_tokenizer([text]) == [True]


def test_every_character_there_is():
    characters = [chr(number) for number in range(0x110000)]
    told = has_words(characters)
    differing = [
        hex(ord(one)) for one, a, b in zip(characters, told, words_by_tokenizer(characters), strict=True) if a != b
    ]
    assert not differing
    assert told.count(False) > 137_468 + 0x800  # private use and surrogates


ODD = "?!.-/ '\u2019\u00b4\u200b\u0301\ufe0f\u00a0\u1160\u3164\u037a\u2474\ufdfa\ud83d🙂\u1fef\u2026\u017f\u0345"


@hypothesis.given(st.text(st.sampled_from(ODD)) | st.text(st.characters(), max_size=6))
def test_neighbours_change_nothing(text):
    assert [has_word(text)] == words_by_tokenizer([text])
