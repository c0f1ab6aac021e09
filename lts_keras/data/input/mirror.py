"""Left and right in expressions, swapped for mirrored photos. Graph operations alone, English alone.

What is swapped: `left` and `right` wherever they stand in a word, so also leftmost, left-most, lefthand, rightside,
lefty, topleft, "onright"; not in words that only look like it (bright, upright, leftover ...). Sides of a body are
swapped too: a mirrored person's left hand looks like a right hand.

What cannot be mirrored surely is left alone, and so is its photo (`can_mirror` is False):
 - clock positions, points of the compass, port and starboard, clockwise;
 - printed text, which is not readable in a mirror: quotes, numbers (but for 1st, 2nd ...), "says", "letter", "number";
 - "right" and "left" that may be no side: "right behind", "all right", "left over", "what is left";
 - `l` and `r` alone, other short forms and misspellings ("rigth"), whose mirrored spelling is unknown: of the 57,457
   sentences of the RefCOCO family's val and test splits two hold a lone `l` and none means a side by it;
 - text that is not ASCII and the commonest words for the sides in other languages.
"""

import tensorflow as tf

from lts_keras.data.text import split_words

__all__ = ["can_mirror", "swap_left_right"]

# Words with "right" or "left" that mean no side: their first and last letters.
_BEFORE_RIGHT = "(al|b|birth|cop|copy|down|f|forth|out|up|w|cartw|millw|playw|shipw|wheelw)"
_AFTER_RIGHT = r"(eous\w*|ful\w*)"
_KEPT = (
    (rf"\b{_BEFORE_RIGHT}right", "\\1\x01"),
    (rf"\bright{_AFTER_RIGHT}", "\x01\\1"),
    (r"\bleft(over\w*)", "\x02\\1"),
    (r"\b(c)left", "\\1\x02"),
)
# Their mirror images would be taken for the words above on the way back.
_COLLIDING = (rf"\b{_BEFORE_RIGHT}left", rf"\bleft{_AFTER_RIGHT}", r"\brightover", r"\bcright")

_PLACE = (
    "above|across|after|against|along|at|before|behind|below|beneath|beside|besides|between|beyond|by|here|"
    "in front|in the middle|inside|near|nearest|next|now|on|outside|over|past|there|through|under|underneath|up|where"
)
# After these words "right" is a side whatever follows: "on the right behind the dog".
_SIDE = (
    r"\b(back|bottom|center|centre|corner|far|farthest|from|front|furthest|its|her|his|left|lower|middle|most|my|on|our|"
    r"the|their|to|top|upper|your) right\b"
)
_UNSURE = (
    rf"\bright ({_PLACE})\b",
    r"\b(all right|alright|right (angle|way|side up)|right away)\b",
    r"\bleft (alone|empty|for|from|open|out|over|untouched|unattended)\b",
    r"\b(been|had|has|have|is|nothing|was|were|whats) left\b",
    r"clock\b|clockwise\b|\b(port|starboard)\b",
    r"\b(north|south)?(east|west)(ern|ernmost|most|ward|wards)?\b",
    r"\b(letters?|lettering|numbers?|numbered|numeral|numerals|reads|saying|says|spells|text|word|wording|words|"
    r"written|digits?)\b",
    # Digits that are no ordinal.
    r"[0-9]( |$|[^0-9stndrh])|[0-9](s[^t]|t[^h]|n[^d]|r[^d]|[dh])",
    r"\b(l|r|lt|rt|lh|rh|lhs|rhs|l side|r side)\b",
    r"\b(eft|elft|lef|lefdt|leff|lefft|lefr|lefy|letf|lfet|lft|ight|irght|rgiht|rght|righ|righr|rigt|rigth|rihgt|riht|"
    r"rigjt|rite)(most|hand|side|y)?\b",
    r"\b(links|linke[rns]?|rechts|rechte[rns]?|gauche|droite|izquierd[ao]|derech[ao]|sinistr[ao]|destr[ao]|esquerd[ao]|"
    r"direit[ao])\b",
    r"[^\x01-\x7f]",
)
_NEVER = "|".join((*_COLLIDING, *_UNSURE))


def swap_left_right(expressions):
    """Rewrites expressions for the mirrored photo.

    Args:
        expressions: string tensor of shape `(n,)`, as written by people.

    Returns:
        `(swapped, can_flip)`: the words as `split_words` gives them, joined by single spaces, left and right swapped
        where `can_flip` (bool, `(n,)`) and as they were elsewhere. Swapping twice gives the words of `expressions`
        back, and `can_flip` is the same for both.
    """
    words = tf.strings.reduce_join(split_words(expressions), axis=-1, separator=" ")
    mirrored = _swap(words)
    # The way back must be sure as well: otherwise "left behind the dog" were flipped and "right behind the dog" not,
    # and flips would make one side rarer than the other.
    safe = can_mirror(expressions, words) & can_mirror(expressions, mirrored)
    return tf.where(safe, mirrored, words), safe


def can_mirror(expressions, words):
    """Whether the mirrored spelling is sure; `words` are those of `expressions`, joined by single spaces."""
    quoted = tf.strings.regex_full_match(expressions, '(?s).*["#\u201c\u201d\u00ab\u00bb].*')
    marked = tf.strings.regex_replace(words, _SIDE, "\\1 side")
    return ~(quoted | tf.strings.regex_full_match(marked, f".*({_NEVER}).*"))


def _swap(words):
    for pattern, kept in _KEPT:
        words = tf.strings.regex_replace(words, pattern, kept)
    words = tf.strings.regex_replace(words, "right", "\x03")
    words = tf.strings.regex_replace(words, "left", "right")
    words = tf.strings.regex_replace(words, "\x03", "left")
    return tf.strings.regex_replace(tf.strings.regex_replace(words, "\x01", "right"), "\x02", "left")
