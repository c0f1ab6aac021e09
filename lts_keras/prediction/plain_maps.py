"""A photo's way into the network and the maps' way back, in numpy alone: for answers without TensorFlow.

The same steps as `lts_keras.data.input.geometry` and `lts_keras.prediction.answer`; sums run in another order, so that
numbers agree to rounding.
"""

import math

import numpy as np

__all__ = ["letterbox", "letterbox_place", "restore"]

_FILL = 0.5
_TABLE = 1024  # steps of a pixel that TensorFlow rounds bicubic weights to
_SHARPNESS = -0.5


def letterbox_place(height, width, size, resize):
    """Where a photo lies in the square: `(top, left, inner_height, inner_width)`, as `letterbox_box`."""
    longest = max(height, width)
    scales = [size / longest] * 2 if resize == "letterbox" else [size / height, size / width]
    inner = [max(round(side * scale), 1) for side, scale in zip((height, width), scales, strict=True)]
    return (size - inner[0]) // 2, (size - inner[1]) // 2, inner[0], inner[1]


def letterbox(photo, size, resize="letterbox"):
    """Fits a photo into a square: area mean where it shrinks, bicubic where it grows, grey around it.

    Args:
        photo: uint8 array `(height, width, 3)`.
        size: int, side of the square in pixels.
        resize: `"letterbox"`, or `"plain"` for a photo stretched to the whole square.

    Returns:
        float32 array `(size, size, 3)` in 0..1.
    """
    height, width, _ = photo.shape
    top, left, inner_height, inner_width = letterbox_place(height, width, size, resize)
    weights = _area_weights if max(inner_height, inner_width) < max(height, width) else _bicubic_weights
    # The axis that shrinks more goes first: less is left for the other one.
    inner = _resize_rows(photo, inner_height, weights)
    inner = _resize_rows(inner.swapaxes(0, 1), inner_width, weights).swapaxes(0, 1)
    square = np.full((size, size, 3), _FILL, np.float32)
    square[top : top + inner_height, left : left + inner_width] = np.clip(inner, 0, 255) / np.float32(255)
    return square


def _resize_rows(image, count, weights):
    """Makes `count` rows, each the weighted sum of few neighbours, which alone become float32."""
    found = np.empty((count, *image.shape[1:]), np.float32)
    for number, (first, shares) in enumerate(weights(len(image), count)):
        part = image[first : first + len(shares)].astype(np.float32)
        found[number] = np.tensordot(shares, part, 1)
    return found


def _area_weights(pixels, count):
    """Yields for each output the first pixel and the shares of the pixels that it covers."""
    scale = np.float32(pixels) / np.float32(count)
    for number in range(count):
        start, end = np.float32(number) * scale, np.float32(number + 1) * scale
        first, last = math.floor(start), math.ceil(end)
        edges = np.clip(np.arange(first, last + 1, dtype=np.float32), start, end)
        shares = np.diff(edges) / scale
        if last > pixels:  # by rounding
            shares = np.append(shares[: pixels - first - 1], shares[pixels - first - 1 :].sum())
        yield first, shares.astype(np.float32)


def _bicubic_weights(pixels, count):
    """As `_area_weights`: Keys' kernel over four pixels; beyond the border there are none."""
    scale = np.float32(pixels) / np.float32(count)
    for number in range(count):
        place = (np.float32(number) + np.float32(0.5)) * scale - np.float32(0.5)
        first = math.floor(place)
        offset = round(float((place - np.float32(first)) * _TABLE)) / _TABLE
        shares = np.array([_keys(1 + offset), _keys(offset), _keys(1 - offset), _keys(2 - offset)], np.float32)
        inside = [0 <= first - 1 + step < pixels for step in range(4)]
        shares = shares[inside]
        yield max(first - 1, 0), shares / shares.sum()


def _keys(distance):
    if distance <= 1:
        return ((_SHARPNESS + 2) * distance - (_SHARPNESS + 3)) * distance**2 + 1
    return ((_SHARPNESS * distance - 5 * _SHARPNESS) * distance + 8 * _SHARPNESS) * distance - 4 * _SHARPNESS


def restore(mask, prior, height, width, settings):
    """Mask, score, presence, box, point and prior of one expression in the photo's own pixels.

    Args:
        mask: float32 probabilities `(size / 4, size / 4)`.
        prior: float32 probabilities `(size / 8, size / 8)`.
        height, width: int, the photo's size.
        settings: `ModelSettings`.

    Returns:
        dict with what `lts_keras.prediction.predictor.Prediction` has.
    """
    shape = height, width, settings.image_size, settings.image_resize
    probabilities = _to_photo(mask, *shape)
    highest, point = _peak(prior, *shape)
    presence = float(settings.presence(probabilities.max(), highest))
    inside = probabilities > settings.threshold
    if settings.presence.threshold is not None and presence < settings.presence.threshold:
        inside = np.zeros_like(inside)
    return {
        "mask": inside,
        "score": float(probabilities[inside].mean(dtype=np.float64)) if inside.any() else 0.0,
        "presence": presence,
        "box": _bounds(inside),
        "point": point,
        "prior": _to_photo(prior, *shape),
    }


def _to_photo(cells, height, width, size, resize):
    top, left, inner_height, inner_width = letterbox_place(height, width, size, resize)
    rows = _bilinear_weights(height, inner_height, top, size, len(cells))
    columns = _bilinear_weights(width, inner_width, left, size, len(cells))
    return rows @ (cells @ columns.T)


def _bilinear_weights(pixels, inner, corner, size, cells):
    """Share of each cell in each pixel along one axis, `(pixels, cells)`: a triangle as wide as the wider of both."""
    cell = np.float32(cells) / np.float32(size)
    pixel = np.float32(inner) / np.float32(pixels) * cell
    places = (np.arange(pixels, dtype=np.float32) + np.float32(0.5)) * pixel + np.float32(corner) * cell
    distances = np.abs(places[:, None] - (np.arange(cells, dtype=np.float32) + np.float32(0.5)))
    weights = np.maximum(1 - distances / max(pixel, np.float32(1)), 0)
    return weights / weights.sum(axis=1, keepdims=True)


def _peak(prior, height, width, size, resize):
    """The prior's largest value among the cells whose centre shows the photo, and its place in the photo."""
    cells = len(prior)
    stride = size // cells
    top, left, inner_height, inner_width = letterbox_place(height, width, size, resize)

    def shown(corner, inner):
        centers = np.arange(cells) * stride + stride // 2
        covered = (centers >= corner) & (centers < corner + inner)
        # A photo thinner than a cell may cover no centre; the cell around its middle then stands for it.
        return covered if covered.any() else np.arange(cells) == (corner + inner // 2) // stride

    allowed = shown(top, inner_height)[:, None] & shown(left, inner_width)[None, :]
    best = int(np.argmax(np.where(allowed, prior, -np.inf)))
    row, column = divmod(best, cells)

    def place(cell, corner, pixels, inner):
        scale = np.float32(pixels) / np.float32(inner)
        found = np.floor(((np.float32(cell) + np.float32(0.5)) * np.float32(stride) - np.float32(corner)) * scale)
        return int(min(max(found, 0), pixels - 1))

    point = place(column, left, width, inner_width), place(row, top, height, inner_height)
    return prior[row, column], point


def _bounds(inside):
    """The box around a mask, `(x0, y0, x1, y1)`, exclusive at the far side; zeros around an empty one."""
    if not inside.any():
        return (0, 0, 0, 0)
    (columns,), (rows,) = np.nonzero(inside.any(axis=0)), np.nonzero(inside.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
