"""Runs a plan with threads, and keeps when each request was due, was sent and was answered."""

import dataclasses
import itertools
import threading
import time

import numpy as np

__all__ = ["Samples", "run_plan"]


@dataclasses.dataclass(frozen=True)
class Samples:
    """What was measured; times are seconds from the end of the warm-up.

    Attributes:
        due: float array, when each request should have been sent: of an open loop its moment of the plan, however late
            the ones before were answered, so that waiting for a slow server counts.
        sent, ended: float arrays.
        codes: list of str, `OK` or what came instead.
        unsent: int, requests of an open loop whose moment came and for which no client was free before the end.
        seconds: float, from the end of the warm-up to the last answer.
    """

    due: np.ndarray
    sent: np.ndarray
    ended: np.ndarray
    codes: list
    unsent: int
    seconds: float


def run_plan(ask, plan, tell=lambda seconds, answered: None):
    """Asks as the plan says.

    Args:
        ask: callable `(index) -> code`, called from many threads.
        plan: `LoadPlan`.
        tell: callable, told about once a second how long it runs and how many are answered.

    Returns:
        `Samples`. Ended from the keyboard, those until then.
    """
    runner = (_OpenLoop if plan.rate is not None else _ClosedLoop)(ask, plan)
    threads = [threading.Thread(target=runner.work, name=f"client-{n}", daemon=True) for n in range(plan.clients)]
    for thread in threads:
        thread.start()
    runner.begin()
    try:
        told = time.monotonic()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)
                if time.monotonic() - told >= 1:
                    told = time.monotonic()
                    tell(told - runner.started, len(runner.rows))
    except KeyboardInterrupt:
        runner.stopped.set()
        until = time.monotonic() + 2
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
    return runner.samples()


class _Loop:
    """What both loops share: one clock for all threads."""

    def __init__(self, ask, plan):
        self._ask, self._plan = ask, plan
        self._go = threading.Event()
        self.stopped = threading.Event()
        self.rows = []  # appending is atomic
        self.started = None

    def begin(self):
        self.started = time.monotonic()
        self._go.set()

    def work(self):
        self._go.wait()
        self._loop()

    def _measure(self, index, due):
        sent = time.monotonic() - self.started
        code = self._ask(index)
        self.rows.append((due if due is not None else sent, sent, time.monotonic() - self.started, code))

    def samples(self):
        warm = self._plan.warm_up_seconds
        rows = sorted(row for row in self.rows if row[0] >= warm)
        times = np.array([row[:3] for row in rows], np.float64).reshape(-1, 3) - warm
        unsent = self._unsent()
        seconds = max(times[:, 2].max(initial=0.0), 1e-9)
        return Samples(times[:, 0], times[:, 1], times[:, 2], [row[3] for row in rows], unsent, seconds)

    def _unsent(self):
        return 0


class _ClosedLoop(_Loop):
    def __init__(self, ask, plan):
        super().__init__(ask, plan)
        self._numbers, self._measured = itertools.count(), itertools.count()

    def _loop(self):
        plan, until = self._plan, self._plan.warm_up_seconds + self._plan.seconds
        while not self.stopped.is_set():
            now = time.monotonic() - self.started
            if now >= until:
                return
            if now >= plan.warm_up_seconds and plan.requests is not None and next(self._measured) >= plan.requests:
                return
            self._measure(next(self._numbers), None)


class _OpenLoop(_Loop):
    def __init__(self, ask, plan):
        super().__init__(ask, plan)
        self._arrivals, self._numbers = plan.arrivals(), itertools.count()

    def _loop(self):
        until = self._plan.warm_up_seconds + self._plan.seconds
        while True:
            index = next(self._numbers)
            if index >= len(self._arrivals):
                return
            due = float(self._arrivals[index])
            early = due - (time.monotonic() - self.started)
            if self.stopped.wait(max(0.0, early)):
                return
            if early < 0 and time.monotonic() - self.started >= until:
                return  # no client was free before the end; counted as unsent
            self._measure(index, due)

    def _unsent(self):
        ended = time.monotonic() - self.started
        arrivals = self._arrivals[self._arrivals >= self._plan.warm_up_seconds]
        due = int(np.sum(arrivals <= ended))
        return due - sum(row[0] >= self._plan.warm_up_seconds for row in self.rows)
