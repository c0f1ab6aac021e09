import gzip
import json
import re

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from lts_keras.config.schema import AugmentConfig
from lts_keras.data import text
from lts_keras.data.input import augment

SIDES = (
    "left right leftmost right-most LEFT lefty righthand left-hand topleft bright upright dog on the leftest".split()
)


def swap(*expressions):
    swapped, can_flip = augment.swap_left_right(tf.constant(expressions))
    return [line.decode() for line in swapped.numpy()], can_flip.numpy().tolist()


def words(*expressions):
    return [" ".join(word.decode() for word in row) for row in text.split_words(tf.constant(expressions)).to_list()]


@pytest.mark.parametrize(
    "expression, mirrored",
    [
        ("left", "right"),
        ("The man's RIGHT, hand", "the mans left hand"),
        ("leftmost", "rightmost"),
        ("left-most", "right most"),
        ("right most", "left most"),
        ("lefthand", "righthand"),
        ("right-hand side", "left hand side"),
        ("leftside", "rightside"),
        ("lefty", "righty"),
        ("the lefts", "the rights"),
        ("leftish", "rightish"),
        ("topleft", "topright"),
        ("left of the right dog", "right of the left dog"),
        ("2nd from left", "2nd from right"),
        ("bright upright thing on the right", "bright upright thing on the left"),
        ("leftover pizza on left", "leftover pizza on right"),
        ("on the right behind the dog", "on the left behind the dog"),
        ("white dog", "white dog"),
        ("", ""),
    ],
)
def test_sides_are_swapped_in_every_spelling(expression, mirrored):
    assert swap(expression) == ([mirrored], [True])
    assert swap(mirrored) == (words(expression), [True])


@pytest.mark.parametrize(
    "expression",
    [
        "man at 3 o clock",
        "man at 3 o'clock",
        "clock showing 7 30",
        "player number 12 on left",
        "right 12",
        'sign that says "left"',
        "the letter R",
        "bus with # 9",
        "right behind the dog",
        "pizza right next to her",
        "what is left of the cake",
        "alright dog",
        "the west side",
        "southeastern corner",
        "l dog",
        "dog r",
        "rigth dog",
        "lef zebra",
        "hund links",
        "fen\u00eatre gauche",
        "upleft dog",
        "rightover",
    ],
)
def test_what_is_not_sure_is_left_alone(expression):
    assert swap(expression) == (words(expression), [False])


@given(st.lists(st.sampled_from(SIDES), max_size=6).map(" ".join))
def test_swapping_twice_gives_the_same_words(expression):
    (swapped,), can_flip = swap(expression)
    assert swap(swapped) == (words(expression), can_flip)


@given(st.text(alphabet="lefrightbm- ", max_size=14))
def test_swapping_twice_gives_the_same_words_for_odd_spellings(expression):
    (swapped,), can_flip = swap(expression)
    assert swap(swapped) == (words(expression), can_flip)


@given(st.text(max_size=30))
def test_any_string_can_be_asked(expression):
    (swapped,), _ = swap(expression.encode("utf-8", "surrogatepass"))
    assert swapped == words(swapped)[0]


def test_human_sentences_swap_there_and_back(shared_data):
    with gzip.open(shared_data / "data/expressions/expressions.jsonl.gz", "rt", encoding="utf8") as lines:
        sentences = [json.loads(line)["sent"] for line in lines]
    plain = words(*sentences)
    swapped, can_flip = swap(*sentences)
    back, _ = swap(*swapped)
    changed = 0
    for before, after, again, sure in zip(plain, swapped, back, can_flip, strict=True):
        assert again == before
        assert (after != before) <= sure
        if sure:
            changed += after != before
            sides = [len(re.findall("left", before)), len(re.findall(r"right", before))]
            if not re.search("bright|upright|leftover|right(eous|ful)|cleft", before):
                assert [len(re.findall("right", after)), len(re.findall("left", after))] == sides
    # Nearly all sentences with a side can be mirrored, and few of the others are given up.
    with_side = sum(bool(re.search("left|right", line)) for line in plain)
    assert changed > 0.95 * with_side
    assert np.mean(can_flip) > 0.95


def test_a_flip_that_loses_a_known_word_is_refused():
    tokenizer = text.Tokenizer(["lefty", "left", "right", "dog"], 4)
    token_ids, mirrored, can_flip = augment.mirrored_token_ids(tokenizer, tf.constant(["left dog", "lefty", "righty"]))
    assert can_flip.numpy().tolist() == [True, False, True]
    assert token_ids.numpy().tolist() == [[3, 5, 0, 0], [2, 0, 0, 0], [1, 0, 0, 0]]
    assert mirrored.numpy().tolist() == [[4, 5, 0, 0], [1, 0, 0, 0], [2, 0, 0, 0]]


def test_flip_of_a_square_twice_changes_nothing():
    square = tf.random.stateless_uniform([3, 8, 8, 2], [0, 1])
    flags = tf.constant([True, False, True])
    once = augment.flip_square(square, flags)
    np.testing.assert_array_equal(once[0], square[0, :, ::-1])
    np.testing.assert_array_equal(once[1], square[1])
    np.testing.assert_array_equal(augment.flip_square(once, flags), square)
    np.testing.assert_array_equal(augment.flip_square(square[0], tf.constant(True)), square[0, :, ::-1])
    np.testing.assert_array_equal(augment.flip_square(square[0], tf.constant(False)), square[0])


def test_draws_follow_the_seed_and_the_strengths():
    config = AugmentConfig(flip=0.25, color=0.4, scale=0.3)
    draws = augment.draw(tf.constant([1, 2], tf.int64), 4000, config)
    again = augment.draw(tf.constant([1, 2], tf.int64), 4000, config)
    for one, other in zip(draws, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert 0.2 < draws.flip.numpy().mean() < 0.3
    assert 0.6 <= draws.color.numpy().min() < 0.62 and 1.38 < draws.color.numpy().max() <= 1.4
    factors = [float(augment.draw(tf.constant([n, 0], tf.int64), 1, config).factor) for n in range(50)]
    assert 0.7 <= min(factors) < 0.8 and 1.2 < max(factors) <= 1.3
    none = augment.draw(tf.constant([1, 2], tf.int64), 9, AugmentConfig())
    assert not none.flip.numpy().any() and (none.color.numpy() == 1).all() and float(none.factor) == 1.0


def test_colour_factors_do_what_their_names_say():
    image = tf.random.stateless_uniform([6, 5, 3], [3, 4], 0.3, 0.6)

    def jitter(*factors):
        return augment.jitter_color(image, tf.constant(factors)).numpy()

    grey = (image.numpy() @ [0.299, 0.587, 0.114])[..., None]
    np.testing.assert_allclose(jitter(1.0, 1.0, 1.0), image, atol=1e-6)
    np.testing.assert_allclose(jitter(1.5, 1.0, 1.0), image * 1.5, atol=1e-6)
    np.testing.assert_allclose(jitter(1.0, 0.5, 1.0), grey.mean() + 0.5 * (image - grey.mean()), atol=1e-6)
    np.testing.assert_allclose(jitter(1.0, 1.0, 0.0), np.repeat(grey, 3, -1), atol=1e-6)
    assert jitter(9.0, 1.0, 1.0).max() == 1.0
