"""Which characters make no word: those that the tokenizer drops or takes for spaces. No TensorFlow here."""

import re
import unicodedata

__all__ = ["APOSTROPHES", "DASHES", "DROPPED", "INVISIBLE", "QUOTES", "SLASHES", "SPACED", "has_word"]

# Soft hyphen, combining grapheme joiner, Mongolian separators, zero-width and direction marks, invisible operators,
# variation selectors, byte order mark: nothing that a reader sees.
INVISIBLE = "[\u00ad\u034f\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]+"
APOSTROPHES = "[`\u00b4\u02b9\u02bb-\u02bd\u02c8\u2018-\u201b\u2032\u2035\u1fef\u1ffd\uff07\uff40]"
QUOTES = "[\u00ab\u00bb\u02ba\u201c-\u201f\u2033\u2034\u2036\u2037\u2057\u2039\u203a\u301d-\u301f\uff02]"
DASHES = "[\u058a\u05be\u2010-\u2015\u2043\u207b\u208b\u2212\u2e3a\u2e3b\ufe31\ufe32\ufe58\ufe63\uff0d]"
SLASHES = "[\u2044\u2215\uff0f]"
DROPPED = r"""[.,'!?"()*#:;]"""
SPACED = "[-/]"

# What case folding of TF Text takes away beside those: all that Unicode calls "default ignorable".
_IGNORED = (
    r"[\u061c\u115f\u1160\u17b4\u17b5\u3164\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e0fff]"
)
_ORDINARY = re.compile("[0-9A-Za-z]")
_WORDLESS = re.compile("|".join((INVISIBLE, _IGNORED, APOSTROPHES, QUOTES, DASHES, SLASHES, DROPPED, SPACED)))
_SPACES = ("Cc", "Co", "Cs")


def has_word(text):
    """Whether the tokenizer finds a word in a sentence; `?!`, dashes or what nobody sees are none, an emoji is one.

    Characters are looked at one by one in the tokenizer's order: no rule of it takes a word away for its neighbours.

    Args:
        text: str, as written by people.
    """
    if _ORDINARY.search(text):
        return True
    text = unicodedata.normalize("NFKC", _WORDLESS.sub("", text)).casefold()
    text = _WORDLESS.sub("", unicodedata.normalize("NFKC", text))
    return any(not kind.startswith("Z") and kind not in _SPACES for kind in map(unicodedata.category, text))
