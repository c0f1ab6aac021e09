"""The page of the data report: one HTML file with everything in it, pictures too."""

import contextlib
import functools
import io
import re
import warnings
from pathlib import Path

import jinja2
import markupsafe
import numpy as np
import tensorflow as tf

from lts_keras.data.checks.pictures import draw_object, read_pixels
from lts_keras.data.checks.statistics import Statistics, slice_name
from lts_keras.data.input.geometry import decode_image
from lts_keras.data.left_out import REASONS
from lts_keras.data.prepare.read import read_planned
from lts_keras.data.schema import DataError, one_line
from lts_keras.data.sources.base import describe_photo

__all__ = ["render_page", "render_template", "sentences_of"]

_PER_SLICE = 4
"""Pictures of one data set and split."""
_MOST_SLICES = 16
_MOST_PIXELS = 50_000_000
"""Of a photo that was refused: nothing else has decoded it yet."""
_CAPTION = 160
"""Characters under a picture."""


def render_page(report, config, plan):
    """Renders the data report.

    Args:
        report: what `check.make_report` gives.
        config: `Config`.
        plan: `Plan`, whose sources the pictures are read from.

    Returns:
        HTML text without any reference to another file.
    """
    return render_template(
        "data_report.html",
        name=config.name,
        report=report,
        reasons=REASONS,
        examples=_examples(report, plan),
        class_chart=_chart(_class_bars, report),
        area_chart=_chart(_area_bars, report),
        pictures=_pictures(report, plan),
    )


def render_template(file, **values):
    """Renders a file of `lts_keras/templates`; every value that it names must be given."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent.parent.parent / "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["code"] = _code
    return environment.get_template(file).render(values)


def _code(text):
    """Text with what stands between backticks as code."""
    return markupsafe.Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(markupsafe.escape(text))))


def sentences_of(item):
    """The first sentences of an object, as they stand under its picture."""
    text = " | ".join(item.expressions[:3])
    return text if len(text) <= _CAPTION else text[: _CAPTION - 1] + "…"


def _examples(report, plan):
    """Dict, kind of finding -> list of (data URI or `None`, sentences, message)."""
    photos = {photo.photo_id: photo for shard in plan.shards for photo in shard.photos}
    shown = {}
    for finding in report["findings"]:
        draw = _refused if finding["kind"] == "size_mismatches" else _example
        shown[finding["kind"]] = [draw(example, photos, plan.sources) for example in finding["examples"]]
    return shown


def _refused(example, photos, sources):
    """The photo alone, as it is shown: its annotations do not fit it."""
    found = [
        (not example["message"].startswith(source.place(entry.key)), number, entry.key)
        for number, source in enumerate(sources)
        for entry in source.entries()
        if entry.photo_id == example.get("photo_id")
    ]
    picture = None
    with contextlib.suppress(DataError, tf.errors.InvalidArgumentError, tf.errors.UnknownError):
        for _, number, key in sorted(found, key=lambda one: one[:2])[:1]:
            content = sources[number].image_bytes(key)
            height, width, _ = describe_photo(content, "")
            if height * width <= _MOST_PIXELS:
                picture = draw_object(decode_image(content).numpy())
    return picture, "", example["message"]


def _example(example, photos, sources):
    """A finding's photo with its object marked; the photo alone where the object was left out or is not known."""
    planned = photos.get(example.get("photo_id")) or photos.get(example.get("same_as"))
    if planned is None:
        return None, "", example["message"]
    try:
        photo = read_planned(sources, planned)
    except DataError:
        return None, "", example["message"]
    wanted = example.get("ref_id"), example.get("slice")
    item = next((item for item in photo.objects if (item.ref_id, slice_name(item)) == wanted), None)
    if item is None and "ref_id" not in example:
        item = next(iter(photo.objects), None)
    picture = draw_object(read_pixels(photo), item and item.mask, item and item.box)
    return picture, sentences_of(item) if item else "", example["message"]


def _pictures(report, plan):
    """Dict, slice -> list of (data URI, sentences, photo id): one object each of photos spread over the slice."""
    chosen, found = list(report["slices"])[:_MOST_SLICES], {}
    for split in sorted({name.rpartition("/")[2] for name in chosen}):
        photos = [photo for shard in plan.shards if split in shard.splits for photo in shard.photos]
        wanted = [name for name in chosen if name.rpartition("/")[2] == split]
        # A few more than are shown: not every photo of a split belongs to every data set.
        tries = np.unique(np.linspace(0, len(photos) - 1, 6 * _PER_SLICE * len(wanted)).astype(int)) if photos else []
        for index in _spread(tries):
            if all(len(found.get(name, ())) == _PER_SLICE for name in wanted):
                break
            try:
                photo = read_planned(plan.sources, photos[index])
            except DataError:
                continue
            objects = Statistics().add(photo)  # Those that reach the records.
            for name in wanted:
                item = next((item for item in objects if slice_name(item) == name), None)
                if item and len(found.setdefault(name, [])) < _PER_SLICE:
                    picture = draw_object(read_pixels(photo), item.mask, item.box)
                    found[name].append((picture, sentences_of(item), photo.photo_id))
    return {name: found[name] for name in chosen if found.get(name)}


def _spread(indices):
    """The same indices, far apart ones first."""
    indices = list(indices)
    return [index for start in range(6) for index in indices[start::6]]


@functools.cache
def _plotting():
    """Matplotlib without a screen and without its global state."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    return Figure, FigureCanvasSVG


def _chart(draw, report):
    """SVG text of a chart."""
    import matplotlib

    figure_class, canvas_class = _plotting()
    # Ids in the file are drawn at random otherwise, and equal data would give unequal pages. Names are written as text,
    # in the fonts of the browser, which has every alphabet; matplotlib's own has not, and a "$" starts a formula in it.
    options = {"svg.hashsalt": "lts", "font.size": 9, "svg.fonttype": "none", "text.parse_math": False}
    with matplotlib.rc_context(options), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure = figure_class(figsize=(5.4, 3.0), layout="constrained")
        draw(figure.subplots(), report)
        text = io.StringIO()
        canvas_class(figure).print_svg(text, metadata={"Date": None, "Creator": None})
    return re.sub(r"^.*?(?=<svg)", "", text.getvalue(), flags=re.DOTALL)


def _label(name):
    """A name that leaves room for the chart."""
    name = one_line(name)
    return name if len(name) <= 30 else name[:29] + "…"


def _class_bars(axes, report):
    counts = {}
    for one in report["slices"].values():
        for name, count in one["classes"].items():
            counts[name or "(no class)"] = counts.get(name or "(no class)", 0) + count
    names = sorted(counts, key=lambda name: (-counts[name], name))[:30]
    axes.bar(range(len(names)), [counts[name] for name in names], color="#4878a8")
    axes.set_xticks(range(len(names)), [_label(name) for name in names], rotation=60, ha="right")
    axes.set(ylabel="objects", title=f"Classes ({len(names)} of {len(counts)})")


def _area_bars(axes, report):
    edges = report["area_edges"]
    labels = [f"{100 * low:g}-{100 * high:g} %" for low, high in zip(edges[:-1], edges[1:], strict=True)]
    places = np.arange(len(labels))
    shown = dict(list(report["slices"].items())[:8])
    width = 0.8 / max(len(shown), 1)
    for number, (name, one) in enumerate(shown.items()):
        share = 100 * np.array(one["areas"]) / max(sum(one["areas"]), 1)
        axes.bar(places + (number - (len(shown) - 1) / 2) * width, share, width, label=_label(name))
    axes.set_xticks(places, labels, fontsize=7.5)
    axes.set(ylabel="objects (%)", title="Size of the objects, as a share of the photo's area")
    if shown:
        axes.legend(fontsize=7)
