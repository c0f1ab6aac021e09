"""Charts of a page as inline SVG: told apart by line style, labelled in words, in the page's own colours."""

import math

import markupsafe

__all__ = ["bar_chart", "line_chart"]

_WIDTH, _HEIGHT = 440, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 30, 40
_DASHES = ("", "7 4", "2 3", "9 3 2 3", "12 4", "4 6")
_LEGEND_ROW = 13
_MOST_POINTS = 100


def line_chart(title, lines, x_label, mark=None, limits=None):
    """Draws lines over one axis.

    Args:
        title: str, what a reader without pictures hears too.
        lines: dict, name -> list of `(x, y)`; at most six are drawn.
        x_label: str.
        mark: `(x, text)` of a vertical line, or `None`.
        limits: `(low, high)` of y; that of the values otherwise.

    Returns:
        `markupsafe.Markup`, an `svg` element; empty where there is nothing to draw.
    """
    lines = {name: _thin(points) for name, points in list(lines.items())[: len(_DASHES)] if points}
    if not lines:
        return markupsafe.Markup()
    xs, ys = zip(*(point for points in lines.values() for point in points), strict=True)
    low, high = limits or (min(ys), max(ys))
    if high <= low:
        low, high = low - abs(low) * 0.1 - 1e-9, high + abs(high) * 0.1 + 1e-9
    legend = _legend(lines)
    top = _TOP + _LEGEND_ROW * max([row for _, _, row in legend], default=0) + (5 if legend else 0)
    x_place, y_place = _scale(min(xs), max(xs), _LEFT, _WIDTH - _RIGHT), _scale(low, high, _HEIGHT - _BOTTOM, top)
    parts = _y_axis(low, high, y_place) + _x_axis(min(xs), max(xs), x_place)
    for dash, points in zip(_DASHES, lines.values(), strict=False):
        places = [f"{x_place(x):.1f},{y_place(min(max(y, low), high)):.1f}" for x, y in points]
        # A line of one point has no length.
        shape = '<circle class="dot" cx="{}" cy="{}" r="3"/>' if len(places) == 1 else None
        parts.append(shape.format(*places[0].split(",")) if shape else _line(" ".join(places), dash))
    if mark and min(xs) <= mark[0] <= max(xs):
        place = x_place(mark[0])
        parts.append(f'<line class="mark" x1="{place:.1f}" x2="{place:.1f}" y1="{top}" y2="{_HEIGHT - _BOTTOM}"/>')
        anchor = "end" if place > _WIDTH / 2 else "start"
        shift = -5 if anchor == "end" else 5
        parts.append(_text(place + shift, top + 11, mark[1], anchor))
    parts += _draw_legend(legend)
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, x_label, "middle"))
    return _svg(title, parts)


def bar_chart(title, bars, x_label, high=None, diagonal=False):
    """Draws bars from zero, each with its label and a note, such as a count, below.

    Args:
        title: str, what a reader without pictures hears too.
        bars: list of dicts: `label`, `note` str; `value` float or `None`; `low`, `high` floats of a range, or absent.
        x_label: str.
        high: top of the axis; of the values otherwise.
        diagonal: bool. Whether a line goes from the lower left to the upper right.

    Returns:
        `markupsafe.Markup`, an `svg` element; empty where there is nothing to draw.
    """
    values = [value for bar in bars for value in (bar["value"], bar.get("high")) if value is not None]
    if not values:
        return markupsafe.Markup()
    high = high or max(values) or 1
    bottom = _HEIGHT - _BOTTOM - 12
    y_place = _scale(0, high, bottom, _TOP)
    parts, step = _y_axis(0, high, y_place), (_WIDTH - _LEFT - _RIGHT) / len(bars)
    for number, bar in enumerate(bars):
        middle = _LEFT + (number + 0.5) * step
        if bar["value"] is not None:
            top = y_place(min(bar["value"], high))
            parts.append(
                f'<rect class="bar" x="{middle - 0.4 * step:.1f}" y="{top:.1f}" width="{0.8 * step:.1f}" '
                f'height="{bottom - top:.1f}"/>'
            )
        if bar.get("low") is not None:
            ends = y_place(bar["low"]), y_place(min(bar["high"], high))
            parts.append(f'<path class="range" d="M{middle:.1f} {ends[0]:.1f}V{ends[1]:.1f}"/>')
            parts += [f'<path class="range" d="M{middle - 4:.1f} {end:.1f}h8"/>' for end in ends]
        parts.append(_text(middle, bottom + 14, bar["label"], "middle"))
        parts.append(_text(middle, bottom + 26, bar["note"], "middle", "small"))
    if diagonal:
        parts.append(f'<path class="mark" d="M{_LEFT} {bottom}L{_WIDTH - _RIGHT} {_TOP}"/>')
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 2, x_label, "middle"))
    return _svg(title, parts)


def _svg(title, parts):
    label = markupsafe.escape(title)
    heading = _text(0, 14, title, "start", "title")
    head = f'<svg class="chart" role="img" aria-label="{label}" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
    return markupsafe.Markup(f"{head}{heading}{''.join(parts)}</svg>")


def _line(places, dash):
    return f'<polyline class="line" points="{places}"' + (f' stroke-dasharray="{dash}"/>' if dash else "/>")


def _legend(lines):
    """List of `(name, left, row)`: samples of the lines side by side, in as many rows as they need."""
    if len(lines) == 1:
        return []
    places, left, row = [], float(_LEFT), 0
    for name in lines:
        width = 42 + 6.4 * len(name)
        if left > _LEFT and left + width > _WIDTH:
            left, row = float(_LEFT), row + 1
        places.append((name, left, row))
        left += width
    return places


def _draw_legend(places):
    parts = []
    for dash, (name, left, row) in zip(_DASHES, places, strict=False):
        y = _TOP - 5 + _LEGEND_ROW * row
        parts.append(_line(f"{left:.0f},{y} {left + 24:.0f},{y}", dash))
        parts.append(_text(left + 28, y + 4, name, "start", "small"))
    return parts


def _y_axis(low, high, place):
    parts = []
    for tick in _ticks(low, high):
        parts.append(f'<path class="grid" d="M{_LEFT} {place(tick):.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(_text(_LEFT - 5, place(tick) + 4, f"{tick:.4g}", "end", "small"))
    return parts


def _x_axis(low, high, place):
    return [_text(place(tick), _HEIGHT - _BOTTOM + 15, f"{tick:.4g}", "middle", "small") for tick in _ticks(low, high)]


def _ticks(low, high, most=6):
    """Round values between two ends: multiples of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / (most - 1)))
    step = next(power * factor for factor in (1, 2, 5, 10) if (high - low) / (power * factor) <= most - 1)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _scale(low, high, start, end):
    span = (high - low) or 1
    return lambda value: start + (value - low) / span * (end - start)


def _thin(points):
    """At most a hundred points and the last one, so that a long training draws no more than a short one."""
    points = list(points)
    step = max(1, math.ceil(len(points) / _MOST_POINTS))
    return points[::step] + (points[-1:] if (len(points) - 1) % step else [])


def _text(x, y, text, anchor, kind=""):
    kind = f' class="{kind}"' if kind else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{markupsafe.escape(text)}</text>'
