"""How a load test runs, within bounds."""

import dataclasses

import numpy as np

from serving.errors import UsageError

__all__ = ["LoadPlan"]

_BOUNDS = {
    "seconds": (0.1, 3600),
    "warm_up_seconds": (0, 600),
    "requests": (1, 1_000_000),
    "clients": (1, 256),
    "rate": (0.01, 10_000),
}


@dataclasses.dataclass(frozen=True)
class LoadPlan:
    """How a load test runs.

    Attributes:
        seconds: float, how long is measured.
        warm_up_seconds: float, how long is asked before, in the same way, without being measured.
        requests: int, most requests that are measured; `None` for as many as there is time for.
        clients: int, of a closed loop the clients, each of which asks again when it is answered; of an open loop the
            requests that may be on their way at a time.
        rate: float, of an open loop the requests a second, at random moments (Poisson) that no slow answer moves;
            `None` for a closed loop.
        seed: int, of those moments.

    Raises:
        UsageError: for a value out of its bounds.
    """

    seconds: float = 10.0
    warm_up_seconds: float = 2.0
    requests: int | None = None
    clients: int = 4
    rate: float | None = None
    seed: int = 0

    def __post_init__(self):
        for name, (low, high) in _BOUNDS.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(f"--{name} must be in {low:g}..{high:g}. Received: {value:g}")
        if self.rate is not None and self.rate * (self.seconds + self.warm_up_seconds) > _BOUNDS["requests"][1]:
            raise UsageError(f"--rate times the seconds must be at most {_BOUNDS['requests'][1]:,} requests")

    def arrivals(self):
        """When the requests of an open loop start, float array of seconds from the beginning, warm-up included."""
        until = self.warm_up_seconds + self.seconds
        random = np.random.default_rng(self.seed)
        count = int(self.rate * until + 10 * (self.rate * until) ** 0.5 + 10)
        moments = np.cumsum(random.exponential(1 / self.rate, count))
        moments = moments[moments < until]
        if self.requests is not None:
            moments = moments[: np.sum(moments < self.warm_up_seconds) + self.requests]
        return moments
