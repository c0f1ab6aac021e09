"""A load test as a picture: how long answers took, when, and how many came."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from serving.load.report import latencies_ms

__all__ = ["draw_report"]

_BLUE, _RED, _GREY = "#2a7bde", "#e63946", "#686870"
_LINES = {"p50": "#16a34a", "p95": "#f59e0b", "p99": "#e63946"}
_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "none",
}


def draw_report(path, samples, summary, title):
    """Writes a PNG file.

    Args:
        path: path of the file.
        samples: `Samples` with at least one answered request.
        summary: dict of `summarize`.
        title: str.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(11, 7.2), layout="constrained", facecolor="white")
        figure.suptitle(title, x=0.01, ha="left", fontsize=13)
        above, below = figure.subplots(2, 2, width_ratios=(2, 1.2), height_ratios=(1.5, 1))
        _over_time(above[0], samples)
        _histogram(above[1], samples, summary)
        _throughput(below[0], samples)
        _table(below[1], summary)
        above[0].sharex(below[0])
        figure.savefig(path, dpi=110, format="png")


def _answered(samples):
    return np.array([code == "OK" for code in samples.codes], bool)


def _bins(samples):
    width = max(0.5, samples.seconds / 30)
    edges = np.arange(0, samples.seconds + width, width)
    return edges, width


def _over_time(axes, samples):
    answered, times = _answered(samples), latencies_ms(samples)
    due = samples.due[answered]
    axes.plot(due, times, ".", color=_BLUE, alpha=0.35, markersize=4, label="one request", zorder=2)
    edges, width = _bins(samples)
    index = np.digitize(due, edges) - 1
    for name in ("p50", "p95"):
        percent = float(name[1:])
        points = [(edges[k] + width / 2, np.percentile(times[index == k], percent)) for k in np.unique(index)]
        axes.plot(*zip(*points, strict=True), color=_LINES[name], linewidth=1.8, label=f"{name} of {width:.2g} s")
    axes.set(title="Latency by the moment when the request was due", ylabel="ms", ylim=(0, 1.25 * times.max()))
    axes.legend(loc="upper left", ncols=3, fontsize=9)


def _histogram(axes, samples, summary):
    times = latencies_ms(samples)
    low, high = max(times.min(), 1e-2), max(times.max(), times.min() * 1.01, 1e-2)
    axes.hist(times, np.geomspace(low * 0.97, high * 1.03, 41), color=_BLUE, alpha=0.75, zorder=2)
    axes.set_xscale("log")
    for name, color in _LINES.items():
        value = summary["latency_ms"][name]
        axes.axvline(value, color=color, linewidth=1.6, label=f"{name} {value:.1f} ms", zorder=3)
    ticks = [
        tick for tick in np.outer(10.0 ** np.arange(-2, 7), (1, 2, 5)).ravel() if low * 0.97 <= tick <= high * 1.03
    ]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set(title="How often", xlabel="ms", ylabel="requests")
    axes.legend(fontsize=9)


def _throughput(axes, samples):
    edges, width = _bins(samples)
    answered = _answered(samples)
    good = np.histogram(samples.ended[answered], edges)[0] / width
    bad = np.histogram(samples.ended[~answered], edges)[0] / width
    axes.bar(edges[:-1], good, width, align="edge", color=_BLUE, alpha=0.75, label="answered", zorder=2)
    if bad.any():
        axes.bar(edges[:-1], bad, width, good, align="edge", color=_RED, alpha=0.85, label="failed", zorder=2)
        axes.legend(fontsize=9)
    axes.set(title="Answers a second", xlabel="seconds since the warm-up", ylabel="1/s", xlim=(0, samples.seconds))


def _table(axes, summary):
    axes.set_axis_off()
    rows = [("requests", f"{summary['requests']}"), ("answered", f"{summary['answered']}")]
    rows += [("a second", f"{summary['per_second']:.2f}")]
    rows += [(name, f"{value:.1f} ms") for name, value in summary["latency_ms"].items()]
    rows += [(code, str(count)) for code, count in list(summary["errors"].items())[:4]]
    if summary["unsent"]:
        rows.append(("not sent in time", str(summary["unsent"])))
    for number, (name, value) in enumerate(rows):
        y = 1 - (number + 0.5) / max(len(rows), 10)
        axes.text(0.02, y, name, color=_GREY, transform=axes.transAxes, va="center")
        axes.text(0.98, y, value, transform=axes.transAxes, va="center", ha="right")
