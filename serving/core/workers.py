"""A few threads that load models."""

import collections
import threading

__all__ = ["Workers"]


class Workers:
    """Runs jobs in daemon threads, which end when nothing is left to do: a load cannot be broken off, and a process
    that ends must not wait for one.

    Args:
        name: str, name of the threads.
        limit: int, jobs at a time.
    """

    def __init__(self, name, limit):
        self.limit = limit
        self._name = name
        self._jobs = collections.deque()
        self._running = 0
        self._changed = threading.Condition()

    def submit(self, job):
        """Runs a callable without arguments, which must not raise, as soon as a thread is free."""
        with self._changed:
            self._jobs.append(job)
            if self._running < self.limit:
                self._running += 1
                threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def wait(self, timeout=None):
        """Returns whether all jobs, and those that they brought, were done within `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout)

    def drop(self):
        """Forgets the jobs that have not begun."""
        with self._changed:
            self._jobs.clear()

    def _work(self):
        try:
            while True:
                with self._changed:
                    if not self._jobs:
                        self._running -= 1
                        self._changed.notify_all()
                        return
                    job = self._jobs.popleft()
                job()
        except BaseException:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()
            raise
