"""The result as HTML: the photo with the prior and the masks as layers, and a table that says the same in words.

Everything that changes while one looks (opacity, which layers are shown) is a style of the page itself; the server is
not asked again.
"""

import base64
import html
import io

import numpy as np
from PIL import Image

from serving.client.drawing import COLORS

__all__ = ["STYLE", "render"]

_LONGEST_SIDE = 1600  # of the picture on the page; more would be sent and never seen
_HEAT = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))  # viridis, dark to bright


def render(found):
    """The result as a piece of HTML.

    Args:
        found: `Found`.

    Returns:
        str.
    """
    width, height = found.photo.size
    priors = [answer.prior for answer in found.answers]
    layers = [_image(_jpeg(found.photo), "layer", f"The photo, {width} by {height} pixels")]
    for number, prior in enumerate(priors, start=1):
        if prior is not None:
            layers.append(_image(_heat_png(prior), f"layer prior of-{number}", ""))
    for number, answer in enumerate(found.answers, start=1):
        layers.append(_image(_mask_png(answer.mask, _color(number)), f"layer mask of-{number}", ""))
    boxes = "".join(_box(number, answer) for number, answer in enumerate(found.answers, start=1))
    layers.append(f'<svg class="layer" viewBox="0 0 {width} {height}" aria-hidden="true">{boxes}</svg>')
    layers.extend(_point(number, answer, width, height) for number, answer in enumerate(found.answers, start=1))
    many = f"{len(found.answers)} {'sentence' if len(found.answers) == 1 else 'sentences'}"
    return (
        f'<div class="lts" style="--mask: .55; --prior: 0">'
        f'<div class="stack" style="aspect-ratio: {width} / {height}">{"".join(layers)}</div>'
        f'<div class="controls">{_slider("mask", "Masks", 0.55)}'
        f"{_slider('prior', 'Position prior', 0) if any(prior is not None for prior in priors) else ''}</div>"
        f'<div class="rows" role="region" aria-label="Table of what was found" tabindex="0">{_table(found)}</div>'
        f'<p class="told">{many} answered in {1000 * found.seconds:.0f} ms by version '
        f"{found.answers[0].version}.</p></div>"
    )


def _color(number):
    return COLORS[(number - 1) % len(COLORS)]


def _hex_color(number):
    return "#%02x%02x%02x" % _color(number)


def _slider(name, label, value):
    return (
        f"<label>{label}: opacity "
        f'<input type="range" min="0" max="1" step="0.05" value="{value}" class="opacity-{name}" '
        f"oninput=\"this.closest('.lts').style.setProperty('--{name}', this.value)\"></label>"
    )


def _table(found):
    rows = "".join(
        _row(number, sentence, answer)
        for number, (sentence, answer) in enumerate(zip(found.sentences, found.answers, strict=True), start=1)
    )
    heads = ("Show", "Sentence", "Of the photo", "Score", "Presence", "Box", "Point")
    cells = "".join(f'<th scope="col">{head}</th>' for head in heads)
    return (
        "<table><caption>What was found, boxes and points as x, y in pixels of the photo</caption>"
        f"<thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _row(number, sentence, answer):
    is_there = bool(answer.mask.any())
    presence = "" if answer.presence is None else f"{answer.presence:.2f}"
    said = html.escape(sentence)
    show = (
        f'<label class="show"><input type="checkbox" checked aria-label="Show the layers of “{said}”" '
        f"onchange=\"for (const one of this.closest('.lts').querySelectorAll('.of-{number}')) "
        f"one.toggleAttribute('hidden', !this.checked)\">"
        f'<span class="chip" style="background: {_hex_color(number)}">{number}</span></label>'
    )
    x0, y0, x1, y1 = answer.box
    cells = [
        f"{answer.mask.mean():.1%}" if is_there else "nothing found",
        f"{answer.score:.2f}" if is_there else "–",
        presence or "–",
        f"<span>{x0}, {y0}</span> <span>to {x1}, {y1}</span>" if is_there else "–",
        "<span>{}, {}</span>".format(*answer.point),
    ]
    return f'<tr><td>{show}</td><th scope="row">{said}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _box(number, answer):
    """The box of one answer, in the photo's pixels; its lines keep their width on the page."""
    if not answer.mask.any():
        return ""
    x0, y0, x1, y1 = answer.box
    lines = "".join(
        f'<rect x="{x0}" y="{y0}" width="{x1 - x0}" height="{y1 - y0}" fill="none" stroke="{ink}" '
        f'stroke-width="{stroke}" vector-effect="non-scaling-stroke"/>'
        for stroke, ink in ((4, "#000"), (2, _hex_color(number)))
    )
    return f'<g class="of-{number}">{lines}</g>'


def _point(number, answer, width, height):
    """The point of one answer, a disc with the answer's number that is as large on any screen."""
    left, top = ((place + 0.5) / side for place, side in zip(answer.point, (width, height), strict=True))
    return (
        f'<span class="point of-{number}" aria-hidden="true" '
        f'style="left: {left:.2%}; top: {top:.2%}; background: {_hex_color(number)}">{number}</span>'
    )


def _image(source, name, alt):
    return f'<img class="{name}" src="{source}" alt="{html.escape(alt)}">'


def _jpeg(photo):
    small = photo.convert("RGB")
    small.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    return _data(small, "JPEG", quality=88)


def _mask_png(mask, color):
    """A mask in its colour, transparent elsewhere."""
    alpha = Image.fromarray(mask.astype(np.uint8) * 255)
    alpha.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    tint = Image.new("RGBA", alpha.size, (*color, 0))
    tint.putalpha(alpha)
    return _data(tint, "PNG")


def _heat_png(prior):
    """Probabilities `(height, width)` in 0..1 as colours, and clear where there is none."""
    places = np.linspace(0, 1, len(_HEAT))
    channels = [np.interp(prior, places, [color[channel] for color in _HEAT]) for channel in range(3)]
    channels.append(255 * np.sqrt(prior))
    return _data(Image.fromarray(np.stack(channels, axis=-1).round().astype(np.uint8)), "PNG")


def _data(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


STYLE = """
.lts { --edge: #8a8f98; font-size: 1rem; }
.lts .stack { position: relative; width: 100%; overflow: hidden; border-radius: 8px; background: #0001; }
.lts .layer { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; object-fit: fill; }
.lts .layer[hidden], .lts .point[hidden], .lts g[hidden] { display: none; }
.lts .mask { opacity: var(--mask); }
.lts .prior { opacity: var(--prior); }
.lts .point { position: absolute; transform: translate(-50%, -50%); box-sizing: border-box; width: 1.25rem;
  height: 1.25rem; border: 2px solid #fff; border-radius: 50%; font: 700 .7rem/1rem system-ui, sans-serif; }
.lts .point, .lts .chip { color: #fff; text-align: center; text-shadow: 0 0 2px #000, 0 0 2px #000; }
.lts .controls { display: flex; flex-wrap: wrap; gap: .5rem 2rem; margin: .75rem 0; }
.lts .controls label { display: flex; align-items: center; gap: .5rem; }
.lts input[type=range] { width: 10rem; accent-color: #1d4ed8; }
.lts input[type=checkbox] { width: 1.1rem; height: 1.1rem; accent-color: #1d4ed8; }
.lts input:focus-visible, .lts .rows:focus-visible { outline: 3px solid #1d4ed8; outline-offset: 2px; }
.lts .rows { overflow-x: auto; }
.lts table { border-collapse: collapse; width: 100%; font-size: .875rem; font-variant-numeric: tabular-nums; }
.lts caption { text-align: left; font-weight: 600; padding: .25rem 0; }
.lts th, .lts td { text-align: left; padding: .35rem .4rem; border: 0; border-bottom: 1px solid var(--edge); }
.lts td span { white-space: nowrap; }
.lts th[scope=row] { min-width: 6rem; font-weight: 600; }
@media (max-width: 640px) { .lts td { white-space: nowrap; } }
.lts .show { display: inline-flex; align-items: center; gap: .4rem; }
.lts .chip { border-radius: 999px; min-width: 1.5rem; font-weight: 700; }
.lts .told { margin: .5rem 0 0; }
"""
