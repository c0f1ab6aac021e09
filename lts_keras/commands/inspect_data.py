"""`lts inspect data`: samples as training sees them and the strangest records, to look at before hours are spent."""

import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from lts_keras.config.schema import AugmentConfig
from lts_keras.data.checks.strangest import find_strangest, render_strangest
from lts_keras.data.input.training_dataset import training_dataset
from lts_keras.data.prepare.folder import data_folder
from lts_keras.data.schema import one_line
from lts_keras.data.text import UNKNOWN, Tokenizer, read_vocabulary
from lts_keras.evaluation import pictures
from lts_keras.models.vocabulary import model_vocabulary
from lts_keras.utils.files import atomic_write
from lts_keras.weights.glove import read_glove

__all__ = ["draw_samples", "inspect_data", "show_strangest"]

_NUM_SAMPLES = 12
_PER_ROW = 2
_PANEL_INCHES = 2.6
_PRINTED = 3
"""Of each kind, on the console; the page has more."""


def inspect_data(config, workdir):
    """Draws samples of the training split and the strangest records into `<workdir>/inspect/` and prints the paths.

    One sheet shows samples as they are, one with the configured augmentation (flip, colour and scale jitter at their
    full strength where the configuration has none, so that there is something to see).

    Raises:
        DataError: no prepared data.
        WeightsError: the file `weights.glove` cannot be read.
    """
    folder = Path(workdir) / "inspect"
    plain, chosen = AugmentConfig(), config.train.augment
    if chosen == plain:
        chosen = AugmentConfig(flip=0.5, color=0.3, scale=0.3)
        print("train.augment is off; the second sheet shows flip=0.5, color=0.3, scale=0.3 instead")
    for name, augment in (("plain", plain), ("augmented", chosen)):
        print(draw_samples(config, workdir, folder / f"samples_{name}.png", augment))
    show_strangest(config, workdir, folder / "strangest.html")


def show_strangest(config, workdir, output):
    """Writes a page of the strangest records of all splits, and prints them in short.

    Shown are the largest and the smallest masks, those farthest from their boxes, the most repeated sentences, and
    words that the file `weights.glove` does not have, where the configuration names one.

    Args:
        config: `Config`.
        workdir: work directory with prepared data.
        output: path of the HTML file.

    Returns:
        `Path` of the page.
    """
    found, glove, unknown = find_strangest(data_folder(config, workdir)), config.weights.glove, None
    if glove in (None, "random"):
        print("weights.glove names no file of word vectors: unknown words are not looked for")
    else:
        unknown = found.unknown_words(read_glove(glove, found.words)[0])
    # Sentences are shown as they are, brackets and colons too.
    console = Console(markup=False, emoji=False, highlight=False)
    console.print(_strangest_table(found, unknown))
    path = atomic_write(output, render_strangest(found, config.name, unknown))
    print(path)
    return path


def _strangest_table(found, unknown):
    table = Table(title=f"the strangest of {found.num_objects} objects", title_justify="left")
    for column in ("what", "how", "where"):
        table.add_column(column, overflow="fold")
    for title, kind, text in (
        ("farthest from its box", "farthest", "{:.0f} pixels"),
        ("smallest mask", "smallest", "{:.4%} of the photo"),
        ("largest mask", "largest", "{:.1%} of the photo"),
    ):
        for one in getattr(found, kind)[:_PRINTED]:
            table.add_row(title, text.format(one.value), one_line(f"{one.photo_id}: ref {one.ref_id} of {one.slice}"))
    for sentence, count in found.repeated[:_PRINTED]:
        table.add_row("repeated sentence", f"{count} objects", _short(sentence))
    for word, count, sentence in (unknown or [])[:_PRINTED]:
        table.add_row("word without a vector", f"{_short(word)}, {count} times", _short(sentence))
    return table


def _short(text):
    text = one_line(text)
    return text if len(text) <= 60 else text[:59] + "…"


def draw_samples(config, workdir, output, augment=None, num_samples=_NUM_SAMPLES):
    """Draws a sheet of samples: the picture, and the targets of mask (stride 4) and prior (stride 8) over it.

    Args:
        config: `Config`.
        workdir: work directory with prepared data.
        output: path of the PNG file.
        augment: `AugmentConfig`; `train.augment` by default.
        num_samples: int.

    Returns:
        `Path` of the sheet.
    """
    data_dir = data_folder(config, workdir)
    tokenizer = Tokenizer(
        model_vocabulary(config, read_vocabulary(data_dir / "vocabulary.txt")), config.model.max_tokens
    )
    samples = training_dataset(
        data_dir,
        tokenizer,
        split=config.train.split,
        image_size=config.model.image_size,
        image_resize=config.model.image_resize,
        batch_size=1,
        augment=config.train.augment if augment is None else augment,
        seed=config.seed,
        deterministic=True,
    )
    num_rows = -(-num_samples // _PER_ROW)
    figure = Figure(figsize=(3 * _PER_ROW * _PANEL_INCHES, num_rows * (_PANEL_INCHES + 0.45)), layout="constrained")
    axes = figure.subplots(num_rows, 3 * _PER_ROW, squeeze=False).reshape(-1, 3)
    for panel in axes.flat:
        panel.set_axis_off()
    for row, (x, y, weight) in zip(axes, samples.take(num_samples), strict=False):
        _draw(row, x["image"][0].numpy(), y, weight)
        row[0].set_title(_words(tokenizer, x["token_ids"][0].numpy()), fontsize=9, loc="left", wrap=True)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return atomic_write(output, buffer.getvalue())


def _draw(row, image, targets, weight):
    photo = (image * 255).round().astype(np.uint8)
    row[0].imshow(photo)
    for panel, (name, title) in zip(row[1:], (("mask", "mask, stride 4"), ("prior", "prior, stride 8")), strict=True):
        cells = targets[name][0, ..., 0].numpy() > 0
        stride = len(photo) // len(cells)
        panel.imshow(pictures.overlay(photo, cells.repeat(stride, 0).repeat(stride, 1)))
        note = "" if weight[name][0] else " (no mask: weight 0)"
        panel.set_title(title + note, fontsize=8, color="0.4", loc="right")


def _words(tokenizer, token_ids):
    """The sentence as the model reads it; words it does not know in brackets."""
    names = {UNKNOWN: "[unknown]"}
    words = [names.get(number) or tokenizer.vocabulary[number - 2] for number in token_ids if number]
    # A dollar sign would start a formula.
    return " ".join(words).replace("$", r"\$") or "[empty]"
