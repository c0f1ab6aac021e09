"""From words to values of flags, and from the table of flags to the page that shows them."""

import difflib
import math
from pathlib import Path

from serving.errors import StartError
from serving.flags import FLAGS, REFUSED

__all__ = ["flags_page", "parse_flags"]

_BOOLS = {"true": True, "false": False, "1": True, "0": False}
_DEEPEST = 8  # of flag files in flag files


def parse_flags(words):
    """Reads flags.

    Args:
        words: list of str, as after `python -m serving server`.

    Returns:
        `(dict from the flag's name to its value, set of the names that were given)`; every flag has a value.

    Raises:
        StartError: for an unknown or refused flag, a value that it cannot have, or a flag file that cannot be read.
    """
    given = {}
    for name, text in _pairs(list(words)):
        given[name] = _value(FLAGS[name], text)
    return {name: given.get(name, flag.default) for name, flag in FLAGS.items()}, set(given)


def _pairs(words, depth=0):
    """Gives `(name, text of the value)` of each flag; goes into flag files."""
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if not word.startswith("--"):
            raise StartError(f"flags begin with --. Received: {word!r}")
        name, equals, text = word[2:].partition("=")
        flag = FLAGS.get(name)
        if flag is None:
            near = difflib.get_close_matches(name, FLAGS, n=1)
            raise StartError(f"unknown flag --{name}" + (f"; did you mean --{near[0]}?" if near else ""))
        if not equals:
            follows = words[at] if at < len(words) else None
            if flag.kind is bool and (follows is None or follows.lower() not in _BOOLS):
                text = "true"
            elif follows is None or follows.startswith("--"):
                raise StartError(f"--{name} needs a value, as in --{name}={flag.default or 'VALUE'}")
            else:
                text, at = follows, at + 1
        if name == "flagfile":
            yield from _pairs(_read_flagfile(text, depth), depth + 1)
        else:
            yield name, text


def _read_flagfile(path, depth):
    if depth >= _DEEPEST:
        raise StartError(f"--flagfile: {path}: more than {_DEEPEST} flag files name each other")
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StartError(f"--flagfile: {path}: cannot be read: {reason}") from None
    lines = [line.strip() for line in lines]
    return [line for line in lines if line and not line.startswith("#")]


def _value(flag, text):
    if flag.kind is bool:
        value = _BOOLS.get(text.lower())
    elif flag.kind is str:
        value = text
    else:
        try:
            value = flag.kind(text)
        except ValueError:
            value = None
    if value is None or (flag.kind is float and not math.isfinite(value)):
        raise StartError(f"--{flag.name} must be {_kind(flag)}. Received: {text!r}")
    if (flag.low is not None and value < flag.low) or (flag.high is not None and value > flag.high):
        raise StartError(f"--{flag.name} must be {_kind(flag)}. Received: {text}")
    if flag.effect == REFUSED and value != flag.default:
        raise StartError(f"--{flag.name} is not supported. {flag.note}")
    return value


def _kind(flag):
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[flag.kind]
    if flag.high is not None:
        return f"{words} in {flag.low}..{flag.high}"
    return words if flag.low is None else f"{words} of at least {flag.low}"


def flags_page():
    """Returns the text of `docs/serving_flags.md`."""
    stock = [flag for flag in FLAGS.values() if not flag.ours]
    ours = [flag for flag in FLAGS.values() if flag.ours]
    lines = [
        "# Flags of the embedded server",
        "",
        "Made from the table in `serving/flags.py` by `python -m serving.parsing`; a test compares them.",
        "",
        "`--flag=value` and `--flag value` are the same; a flag of kind bool alone is `true`. Given twice, the last",
        "value counts. A flag that is not in the tables, or a value that it cannot have: one line and exit code 2.",
        "",
        f"## TensorFlow Serving's {len(stock)}",
        "",
        *_table(stock),
        "",
        f"## This server's own {len(ours)}",
        "",
        *_table(ours),
    ]
    return "\n".join(lines) + "\n"


def _table(flags):
    yield "| flag | kind | default | effect | what |"
    yield "|---|---|---|---|---|"
    for flag in flags:
        default = str(flag.default).lower() if flag.kind is bool else str(flag.default)
        what = f"{flag.help[0].upper()}{flag.help[1:]}. {flag.note}".strip()
        shown = f"`{default}`" if default else "none"
        yield f"| `--{flag.name}` | {flag.kind.__name__} | {shown} | {flag.effect} | {what} |"


if __name__ == "__main__":
    print(flags_page(), end="")
