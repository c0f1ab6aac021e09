"""Answers drawn over their photo, with a legend below. Pillow and numpy alone."""

import functools
import importlib.util
import itertools
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

__all__ = ["COLORS", "draw_answers"]

COLORS = ((230, 57, 70), (42, 123, 222), (245, 158, 11), (22, 163, 74), (168, 85, 247), (6, 182, 212))
"""Of the first, second, ... answer; each has a number too, for those who cannot tell the colours apart."""

SMALLEST_SIDE = 480
"""Smaller photos are drawn larger, so that the legend can be read."""

_INK, _PAPER, _MUTED = (24, 24, 27), (255, 255, 255), (104, 104, 112)

FURTHER_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "unifont.otf",
    "PingFang.ttc",
    "msyh.ttc",
    "Arial Unicode.ttf",
)
"""Files that are looked for among the system's fonts where the usual font lacks a letter of a sentence."""
NO_FONT = "(a sentence in letters that no font here has)"
_UNASSIGNED = "\U0010ffff"


def draw_answers(photo, expressions, answers):
    """Draws tint, outline, box and point of each answer, and a legend of sentences and scores.

    Args:
        photo: `PIL.Image.Image`, upright.
        expressions: list of str.
        answers: list of `Answer`, as many.

    Returns:
        `PIL.Image.Image`, RGB, the photo with its legend below; a small photo is enlarged by a whole number.

    Raises:
        ValueError: if a mask has another size than the photo.
    """
    for answer in answers:
        if answer.mask.shape != photo.size[::-1]:
            height, width = answer.mask.shape
            raise ValueError(f"the mask is of {width} x {height}, the photo of {photo.width} x {photo.height} pixels")
    scale = max(1, -(-SMALLEST_SIDE // max(photo.size)))
    picture = photo.convert("RGB").resize((photo.width * scale, photo.height * scale), Image.Resampling.BICUBIC)
    line = max(2, round(max(picture.size) / 320))
    for index, answer in enumerate(answers):
        mask = answer.mask.repeat(scale, axis=0).repeat(scale, axis=1)
        picture = _tint(picture, mask, _color(index), line)
    draw = ImageDraw.Draw(picture)
    for index, answer in enumerate(answers):
        if answer.mask.any():
            _box(draw, [scale * edge for edge in answer.box], _color(index), line)
    for index, answer in enumerate(answers):
        _mark(draw, [scale * (edge + 0.5) for edge in answer.point], index, len(answers) > 1, line)
    return _with_legend(picture, expressions, answers)


def _color(index):
    return COLORS[index % len(COLORS)]


def _tint(picture, mask, color, line):
    """Colours the mask's pixels and draws its outline, dark beneath light, so that it shows on any photo."""
    picture = picture.copy()
    picture.paste(color, mask=Image.fromarray(mask * np.uint8(102)))
    for width, ink in ((2 * line, (0, 0, 0)), (line, color)):
        picture.paste(ink, mask=Image.fromarray(_grown(mask, width) & ~mask))
    return picture


def _grown(mask, width):
    """The mask and all that is at most `width` pixels from it, across and down."""
    for axis in (0, 1):
        view, reached = np.moveaxis(mask.copy(), axis, 0), 0
        while reached < width:
            # What has grown by r on both sides may be laid 2r + 1 further without a gap.
            step = min(2 * reached + 1, width - reached)
            before = view.copy()
            view[step:] |= before[:-step]
            view[:-step] |= before[step:]
            reached += step
        mask = np.moveaxis(view, 0, axis)
    return np.ascontiguousarray(mask)


def _box(draw, box, color, line):
    x0, y0, x1, y1 = box
    for grow, ink in ((1, (0, 0, 0)), (0, color)):
        draw.rectangle((x0 - grow, y0 - grow, x1 - 1 + grow, y1 - 1 + grow), outline=ink, width=max(1, line // 2))


def _mark(draw, point, index, numbered, line):
    """A disc where the prior is highest, with the answer's number in it if there are several."""
    x, y = point
    radius = line * (4.5 if numbered else 3)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), _color(index), _PAPER, max(1, line // 2 + 1))
    if numbered:
        draw.text((x, y), str(index + 1), _PAPER, _font(round(line * 6)), anchor="mm")


def _with_legend(picture, expressions, answers):
    size = max(15, round(picture.width / 48))
    small, gap = _font(round(size * 0.85)), round(size * 0.7)
    left, right = gap + 2 * size, picture.width - gap
    rows = []
    for expression, answer in zip(expressions, answers, strict=True):
        text, own = _legible(f"“{expression}”", size)
        rows.append((_wrap(text, right - left, own), own, _describe(answer)))
    height = sum(round(1.35 * size) * len(lines) + round(1.25 * size) + gap for lines, _, _ in rows) + gap
    sheet = Image.new("RGB", (picture.width, picture.height + height), _PAPER)
    sheet.paste(picture, (0, 0))
    draw, top = ImageDraw.Draw(sheet), picture.height + gap
    for index, (lines, own, words) in enumerate(rows):
        middle = (gap + size * 0.7, top + size * 0.7)
        draw.ellipse((gap, top, gap + size * 1.4, top + size * 1.4), _color(index))
        draw.text(middle, str(index + 1), _PAPER, small, anchor="mm")
        for text in lines:
            draw.text((left, top), text, _INK, own)
            top += round(1.35 * size)
        for text in _wrap(words, right - left, small, most=1):
            draw.text((left, top), text, _MUTED, small)
        top += round(1.25 * size) + gap
    return sheet


def _describe(answer):
    if not answer.mask.any():
        found = "nothing found"
    else:
        found = f"score {answer.score:.2f}"
    sure = "" if answer.presence is None else f"  ·  presence {answer.presence:.2f}"
    return f"{found}{sure}  ·  {answer.mask.mean():.1%} of the photo"


def _legible(text, size):
    """A text and a font that has all its letters; `NO_FONT` instead of the text where there is none."""
    fonts = itertools.chain([_font(size)], (_open_font(name, size) for name in FURTHER_FONTS))
    for font in fonts:
        if font is not None and _has_letters(font, text):
            return text, font
    return NO_FONT, _font(size)


def _has_letters(font, text):
    missing = bytes(font.getmask(_UNASSIGNED))  # what a font draws for each letter that it lacks, most of them a box
    return all(letter.isspace() or bytes(font.getmask(letter)) != missing for letter in set(text))


@functools.cache
def _font(size):
    """A font with most of Unicode: the system's or matplotlib's DejaVu Sans; else Pillow's own, which has English."""
    places = ["DejaVuSans.ttf"]
    matplotlib = importlib.util.find_spec("matplotlib")
    if matplotlib is not None:
        places.append(str(Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"))
    found = filter(None, (_open_font(place, size) for place in places))
    return next(found, None) or ImageFont.load_default(size)


@functools.cache
def _open_font(place, size):
    """The font of a path, or of that name among the system's fonts; `None` where there is none."""
    try:
        return ImageFont.truetype(place, size)
    except OSError:
        return None


def _wrap(text, width, font, most=3):
    """Breaks a text at spaces into at most `most` lines of at most `width` pixels; what is left over is cut."""
    lines, line = [], ""
    for word in text.split(" "):
        word = word[:width]  # no letter is narrower than a pixel
        longer = f"{line} {word}" if line else word
        if line and font.getlength(longer) > width:
            lines.append(line)
            longer = word
            if len(lines) == most:
                lines[-1] += " …"
                break
        line = longer
    else:
        lines.append(line)
    return [_cut(line, width, font) for line in lines]


def _cut(line, width, font):
    while len(line) > 2 and font.getlength(line) > width:
        line = f"{line[: min(len(line) - 2, 2 * int(len(line) * width / font.getlength(line)))]}…"
    return line
