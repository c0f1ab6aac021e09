"""`lts inspect PATH`: tells what a file or folder is and shows what it holds."""

import importlib
import itertools
import os
from pathlib import Path

from rich.console import Console, Group
from rich.table import Table

from lts_keras.commands.identify import KINDS, identify
from lts_keras.utils.imports import import_modules
from lts_keras.utils.quiet import import_tensorflow
from lts_keras.weights.glove import glove_words, read_glove

__all__ = ["glove_contents", "inspect_path", "size_text"]

_SHOWN_WORDS = 12
_SHOWN_NUMBERS = 6


def inspect_path(path, imports=()):
    """Prints what lies at a path and what is in it.

    Args:
        path: path of a file or folder.
        imports: names of modules that register classes of one's own, see `Config.imports`.

    Raises:
        ConfigError: a module cannot be imported.
        InspectError: nothing that this can show.
        WeightsError, DataError: what it is, but cut short or damaged.
    """
    kind, path = identify(path)
    size = _size(path)
    if kind == "glove":
        contents = glove_contents(path)
    else:
        # Only the word vectors are read without TensorFlow.
        import_tensorflow()
        import_modules(imports)
        module = "inspect_served" if kind in ("saved_model", "onnx") else "inspect_trained"
        contents = getattr(importlib.import_module(f"lts_keras.commands.{module}"), f"{kind}_contents")(path)
    # Words and names are shown as they are, brackets and colons too.
    console = Console(markup=False, emoji=False, highlight=False)
    console.print(f"{path}: {KINDS[kind]}, {size_text(size)}", contents, sep="\n", soft_wrap=False)


def glove_contents(path):
    """Returns what a GloVe file holds, for `rich` to print; raises `WeightsError` naming the line that is wrong."""
    words = list(itertools.islice(glove_words(path), _SHOWN_WORDS))
    vectors, num_lines = read_glove(path, words)
    table = Table(show_header=False)
    table.add_row("words", f"{num_lines:,}")
    sample = next(iter(vectors.items()), None)
    if sample:
        numbers = sample[1]
        table.add_row("numbers each", str(numbers.size))
        table.add_row("first words", " ".join(words))
        shown = " ".join(f"{number:.4g}" for number in numbers[:_SHOWN_NUMBERS])
        table.add_row(sample[0], shown + (" ..." if numbers.size > _SHOWN_NUMBERS else ""))
    return Group(table)


def size_text(size):
    """Bytes as people read them, for example `"1.5 MB"`."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.2f} GB"


def _size(path):
    if path.is_file():
        return path.stat().st_size
    return sum(os.path.getsize(Path(folder) / name) for folder, _, names in os.walk(path) for name in names)
