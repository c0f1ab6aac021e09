"""Pictures of answers: mask over photo, prior as heat map, and both beside the truth (figure 4 of the paper)."""

import functools
import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lts_keras.utils.files import atomic_write

__all__ = ["fit", "heat_map", "outline", "overlay", "panels", "save_png", "write_overlay"]

PREDICTED = (255, 64, 64)
TRUTH = (64, 220, 96)
_COLORS = ((255, 64, 64), (64, 128, 255), (255, 176, 32), (64, 200, 96), (200, 80, 255), (32, 200, 200))
_INK, _PAPER, _MUTED = (24, 24, 27), (255, 255, 255), (110, 110, 118)


def overlay(photo, mask, color=PREDICTED, alpha=0.45, point=None):
    """Tints the mask's pixels and draws its outline, dark beneath light, so that it shows on any photo.

    Args:
        photo: uint8 array `(height, width, 3)`, RGB.
        mask: bool array `(height, width)`.
        color: RGB of tint and outline.
        alpha: float, strength of the tint, 0 to 1.
        point: `(x, y)` in pixels to mark with a cross, or `None`.

    Returns:
        uint8 array `(height, width, 3)`.

    Raises:
        ValueError: if the mask has another size than the photo.
    """
    photo, mask = np.asarray(photo), np.asarray(mask, bool)
    if photo.shape[:2] != mask.shape:
        raise ValueError(f"mask must have the photo's size {photo.shape[:2]}. Received: {mask.shape}")
    picture = photo.astype(np.float32)
    picture[mask] += alpha * (np.array(color, np.float32) - picture[mask])
    picture = picture.round().astype(np.uint8)
    line = max(1, round(max(mask.shape) / 200))
    picture[outline(mask, 2 * line)] = (0, 0, 0)
    picture[outline(mask, line)] = color
    return _cross(picture, point) if point is not None else picture


def outline(mask, width=1):
    """The band of pixels outside the mask that are at most `width` from it, as a bool array of the mask's shape."""
    mask = np.asarray(mask, bool)
    grown = mask
    for _ in range(width):
        padded = np.pad(grown, 1)
        grown = padded[1:-1, 1:-1] | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return grown & ~mask


def heat_map(photo, prior, strength=0.65, point=None):
    """Blends the prior, as colours, over the photo in grey.

    Args:
        photo: uint8 array `(height, width, 3)`.
        prior: float array `(height, width)` of probabilities. Stretched to its own range, since where it is highest
            matters and not how high.
        strength: float, share of the colours.
        point: `(x, y)` of the maximum to mark, or `None`.

    Returns:
        uint8 array `(height, width, 3)`.
    """
    import matplotlib

    photo, prior = np.asarray(photo), np.asarray(prior, np.float32)
    if photo.shape[:2] != prior.shape:
        raise ValueError(f"prior must have the photo's size {photo.shape[:2]}. Received: {prior.shape}")
    low, high = float(prior.min(initial=np.inf)), float(prior.max(initial=-np.inf))
    level = (prior - low) / (high - low) if high > low else np.zeros_like(prior)
    colors = matplotlib.colormaps["turbo"](level)[..., :3] * 255
    grey = np.repeat(photo.mean(axis=-1, keepdims=True), 3, axis=-1)
    picture = (grey + strength * (colors - grey)).round().astype(np.uint8)
    return _cross(picture, point) if point is not None else picture


def fit(picture, max_side):
    """Shrinks an array `(height, width, 3)` so that its longer side is at most `max_side`; never enlarges.

    Returns:
        `PIL.Image.Image`.
    """
    image = Image.fromarray(np.asarray(picture))
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return image


def save_png(path, picture):
    """Writes a picture, a uint8 array `(height, width, 3)` or a `PIL.Image.Image`, as PNG; whole or not at all."""
    buffer = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(np.asarray(picture))).save(buffer, "PNG")
    return atomic_write(path, buffer.getvalue())


def panels(photo, expression, *, prior=None, mask=None, truth=None, point=None, note="", height=240):
    """One row of pictures with titles, the expression as caption: photo, prior, mask, truth; those given.

    Args:
        photo: uint8 array `(height, width, 3)`.
        expression: caption; wrapped, any Unicode.
        prior: float array `(height, width)` of probabilities, or `None`.
        mask: bool array `(height, width)`, the answer, or `None`.
        truth: bool array `(height, width)`, or `None`.
        point: `(x, y)` of the prior's maximum, or `None`.
        note: small line below the caption, for example scores.
        height: int, height of one picture in pixels.

    Returns:
        `PIL.Image.Image`, RGB.
    """
    pictures = [("photo", np.asarray(photo))]
    if prior is not None:
        pictures.append(("prior", heat_map(photo, prior, point=point)))
    if mask is not None:
        pictures.append(("mask", overlay(photo, mask)))
    if truth is not None:
        pictures.append(("truth", overlay(photo, truth, color=TRUTH)))
    width = max(1, round(np.shape(photo)[1] * height / np.shape(photo)[0]))
    # A strip of a photo must still leave room for its title.
    width = min(max(width, 90), 4 * height)
    gap, title = 10, 22
    lines = _wrap(f"“{expression}”", len(pictures) * (width + gap) - gap, _font(18))
    top = gap + 26 * len(lines) + (20 if note else 0) + title
    sheet = Image.new("RGB", (gap + len(pictures) * (width + gap), top + height + gap), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        draw.text((gap, gap + 26 * number), line, _INK, _font(18))
    if note:
        draw.text((gap, gap + 26 * len(lines)), note, _MUTED, _font(13))
    for number, (name, picture) in enumerate(pictures):
        left = gap + number * (width + gap)
        draw.text((left, top - title + 2), name, _MUTED, _font(13))
        sheet.paste(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS), (left, top))
    return sheet


def _cross(picture, point):
    """Marks a point; the arms are dark with a light core."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    (x, y), arm = (int(value) for value in point), max(3, round(max(picture.shape[:2]) / 40))
    for color, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        draw.line((x - arm, y, x + arm, y), color, width)
        draw.line((x, y - arm, x, y + arm), color, width)
    return np.asarray(image)


@functools.cache
def _font(size):
    """DejaVu Sans, which matplotlib brings along: Pillow's own font lacks most of Unicode."""
    import matplotlib

    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)


def _wrap(text, width, font, max_lines=3):
    """Breaks `text` at spaces into at most `max_lines` lines of at most `width` pixels; cuts what is left over."""
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width:
            lines.append(line)
            longer = word
        line = longer
    lines.append(line)
    if len(lines) > max_lines:
        lines = [*lines[: max_lines - 1], f"{lines[max_lines - 1]} …"]
    for number, line in enumerate(lines):
        while len(line) > 2 and font.getlength(line) > width:
            line = f"{line[:-2]}…"
        lines[number] = line
    return lines


def write_overlay(output, photo, expressions, predictions):
    """Draws the answers over the photo, one colour each, writes the picture and prints a line for each answer.

    Args:
        output: path of the PNG file.
        photo: uint8 array `(height, width, 3)`.
        expressions: list of str.
        predictions: list of objects with `mask`, `score`, `presence` and `box` as in `Prediction`.
    """
    picture = photo
    for index, (expression, prediction) in enumerate(zip(expressions, predictions, strict=True)):
        color = _COLORS[index % len(_COLORS)]
        picture = overlay(picture, prediction.mask, color=color)
        share = prediction.mask.mean()
        # A served model that was exported before presence was told has none.
        sure = "" if prediction.presence is None else f", presence {prediction.presence:.3f}"
        print(f"{expression!r}: score {prediction.score:.3f}{sure}, box {prediction.box}, {share:.1%} of the photo")
    save_png(output, picture)
    print(f"overlay: {output}")
