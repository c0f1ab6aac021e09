"""The page of the data report: one HTML file with everything in it, pictures too."""

import base64
import functools
import io
import re
from pathlib import Path

import jinja2
import numpy as np
from PIL import Image, ImageDraw

from lts_keras.data.checks.statistics import slice_name
from lts_keras.data.prepare.read import read_planned
from lts_keras.data.schema import DataError

__all__ = ["render_page"]

_PER_SLICE = 4
"""Pictures of one data set and split."""
_MOST_SLICES = 16
_PICTURE_SIZE = 360
_MARK = np.array([235, 64, 52], "float32")


def render_page(report, config, plan):
    """Renders the data report.

    Args:
        report: what `check.make_report` gives.
        config: `Config`.
        plan: `Plan`, whose sources the pictures are read from.

    Returns:
        HTML text without any reference to another file.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = Path(__file__).parent.parent.parent / "templates" / "data_report.html"
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        name=config.name,
        report=report,
        class_chart=_chart(_class_bars, report),
        area_chart=_chart(_area_bars, report),
        pictures=_pictures(report, plan),
    )


def _pictures(report, plan):
    """Dict, slice -> list of (data URI, text): photos spread evenly over the slice, one object of each marked."""
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
            for name in wanted:
                item = next((item for item in photo.objects if slice_name(item) == name), None)
                if item and len(found.setdefault(name, [])) < _PER_SLICE:
                    found[name].append((_picture(photo, item), f"{photo.photo_id}: {' | '.join(item.expressions[:3])}"))
    return {name: found[name] for name in chosen if found.get(name)}


def _spread(indices):
    """The same indices, far apart ones first."""
    indices = list(indices)
    return [index for start in range(6) for index in indices[start::6]]


def _picture(photo, item):
    """Data URI of the photo with one object's mask or box marked."""
    with Image.open(io.BytesIO(photo.image_bytes)) as opened:
        pixels = np.asarray(opened.convert("RGB"), "float32").copy()
    if item.mask is not None:
        pixels[item.mask] = 0.5 * pixels[item.mask] + 0.5 * _MARK
    picture = Image.fromarray(pixels.astype("uint8"))
    if item.box is not None:
        width = max(1, round(max(picture.size) / 200))
        ImageDraw.Draw(picture).rectangle(item.box, outline=tuple(int(value) for value in _MARK), width=width)
    picture.thumbnail((_PICTURE_SIZE, _PICTURE_SIZE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


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
    # Ids in the file are drawn at random otherwise, and equal data would give unequal pages.
    with matplotlib.rc_context({"svg.hashsalt": "lts", "font.size": 9}):
        figure = figure_class(figsize=(7.2, 3.0), layout="constrained")
        draw(figure.subplots(), report)
        text = io.StringIO()
        canvas_class(figure).print_svg(text, metadata={"Date": None, "Creator": None})
    return re.sub(r"^.*?(?=<svg)", "", text.getvalue(), flags=re.DOTALL)


def _class_bars(axes, report):
    counts = {}
    for one in report["slices"].values():
        for name, count in one["classes"].items():
            counts[name or "(no class)"] = counts.get(name or "(no class)", 0) + count
    names = sorted(counts, key=lambda name: (-counts[name], name))[:30]
    axes.bar(range(len(names)), [counts[name] for name in names], color="#4878a8")
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right")
    axes.set(ylabel="objects", title=f"Classes ({len(names)} of {len(counts)})")


def _area_bars(axes, report):
    edges = report["area_edges"]
    labels = [f"{100 * low:g}-{100 * high:g} %" for low, high in zip(edges[:-1], edges[1:], strict=True)]
    places = np.arange(len(labels))
    shown = dict(list(report["slices"].items())[:8])
    width = 0.8 / max(len(shown), 1)
    for number, (name, one) in enumerate(shown.items()):
        share = 100 * np.array(one["areas"]) / max(sum(one["areas"]), 1)
        axes.bar(places + (number - (len(shown) - 1) / 2) * width, share, width, label=name)
    axes.set_xticks(places, labels)
    axes.set(ylabel="objects (%)", title="Size of the objects, as a share of the photo's area")
    if shown:
        axes.legend(fontsize=7)
