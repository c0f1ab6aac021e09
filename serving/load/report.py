"""What a load test found, as numbers and as text."""

import collections

import numpy as np

__all__ = ["PERCENTILES", "latencies_ms", "summarize", "to_text"]

PERCENTILES = (50, 90, 95, 99)


def latencies_ms(samples):
    """Milliseconds of the answered requests, from when each was due; float array."""
    answered = np.array([code == "OK" for code in samples.codes], bool)
    return 1000 * (samples.ended - samples.due)[answered]


def summarize(samples, plan):
    """Counts and percentiles.

    Args:
        samples: `Samples`.
        plan: `LoadPlan`.

    Returns:
        dict that `json.dumps` takes; of no answered request the latencies are `None`.
    """
    times, codes = latencies_ms(samples), collections.Counter(samples.codes)
    answered = codes.pop("OK", 0)
    latency = {f"p{percent}": _rounded(times, percent) for percent in PERCENTILES}
    return {
        "loop": "closed" if plan.rate is None else "open",
        "clients": plan.clients,
        "rate": plan.rate,
        "warm_up_seconds": plan.warm_up_seconds,
        "seconds": round(samples.seconds, 3),
        "requests": len(samples.codes),
        "answered": answered,
        "errors": dict(sorted(codes.items())),
        "unsent": samples.unsent,
        "per_second": round(answered / samples.seconds, 3),
        "latency_ms": {
            "mean": round(float(times.mean()), 3) if len(times) else None,
            **latency,
            "max": _rounded(times, 100),
        },
    }


def to_text(summary):
    """The same for people: a few lines."""
    loop = f"{summary['clients']} clients, closed loop"
    if summary["loop"] == "open":
        loop = f"{summary['rate']:g} a second, open loop, at most {summary['clients']} on their way"
    lines = [
        f"{loop}: {summary['requests']} requests in {summary['seconds']:.1f} s after a warm-up of "
        f"{summary['warm_up_seconds']:g} s",
        f"answered {summary['answered']}, {summary['per_second']:.2f} a second",
    ]
    if summary["answered"]:
        lines.append("latency " + "  ".join(f"{name} {value:.1f} ms" for name, value in summary["latency_ms"].items()))
    lines += [f"failed {count}: {code}" for code, count in summary["errors"].items()]
    if summary["unsent"]:
        lines.append(f"not sent in time {summary['unsent']}: all clients waited for answers, so latencies are too low")
    return "\n".join(lines)


def _rounded(times, percent):
    return round(float(np.percentile(times, percent)), 3) if len(times) else None
