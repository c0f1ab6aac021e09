"""Loads of versions that have been tried: which failed, why, and when each is tried again."""

import dataclasses
import time

from serving.core.states import AVAILABLE, END, VersionState
from serving.errors import explain

__all__ = ["NEVER", "Tries", "Try"]

NEVER = float("inf")


@dataclasses.dataclass
class Try:
    """The loads of a version with one content of its folder.

    Attributes:
        identity: of the folder.
        companions: what lay beside its graph.
        failures: int, loads that failed.
        due: float, when it may be tried again, on the clock of `time.monotonic`; `NEVER` once it is given up.
        loading: bool, whether a load runs or waits for its thread.
        code: gRPC code of the last failure, an int.
        message: str, why it failed.
    """

    identity: tuple
    companions: tuple = ()
    failures: int = 0
    due: float = 0.0
    loading: bool = False
    code: int = 0
    message: str = ""


class Tries:
    """Keeps a `Try` per version. A failed load is tried again some times, and at once when the folder changes.

    Args:
        retries: int, how often a load that failed is tried again.
        pause: float, seconds between two tries.
    """

    def __init__(self, retries, pause):
        self._retries, self._pause = retries, max(0.0, pause)
        self._tries = {}  # name -> {version: Try}

    def begin(self, name, version, identity, companions=()):
        """Returns the `Try` of a load that should run now, marked as loading; `None` if none should."""
        tries = self._tries.setdefault(name, {})
        attempt = tries.get(version)
        if attempt is not None and attempt.loading:
            return None
        if attempt is None or (attempt.identity, attempt.companions) != (identity, companions):
            attempt = tries[version] = Try(identity, companions)
        elif time.monotonic() < attempt.due:
            return None
        attempt.loading = True
        return attempt

    def failed(self, name):
        """Returns the set of a model's versions whose last load failed."""
        return {version for version, attempt in self._tries.get(name, {}).items() if attempt.failures}

    def note_failure(self, attempt, error):
        """Writes down that a load ended with an exception."""
        code, attempt.message = explain(error)
        attempt.code = code.value[0]
        attempt.failures += 1
        attempt.due = time.monotonic() + self._pause if attempt.failures <= self._retries else NEVER

    def state(self, name, version, loaded, wanted=True):
        """What is to be said of a version whose last load failed.

        Args:
            name: str.
            version: int.
            loaded: bool, whether the version still answers, with files that were there before.
            wanted: bool, whether it will be tried again.

        Returns:
            `VersionState`.
        """
        attempt = self._tries[name][version]
        message, left = attempt.message, self._retries + 1 - attempt.failures
        if wanted and left > 0:
            message += f"; it is tried again in {self._pause:g} s, {left} more times, and when its files change"
        elif wanted:
            message += f"; it was tried {attempt.failures} times, and is tried again when its files change"
        if loaded:
            message = f"its files were replaced and do not load, what was loaded before answers: {message}"
        return VersionState(AVAILABLE if loaded else END, attempt.code, message)

    def forget(self, name, version):
        """Returns whether there was a failure to forget."""
        attempt = self._tries.get(name, {}).pop(version, None)
        return attempt is not None and attempt.failures > 0

    def keep(self, name, versions):
        """Forgets all of a model but these versions, and loads that run."""
        tries = self._tries.get(name, {})
        self._tries[name] = {key: one for key, one in tries.items() if key in versions or one.loading}

    def next_due(self, name):
        """When the next load of a model may be tried again, on the clock of `time.monotonic`."""
        tries = self._tries.get(name, {}).values()
        return min((one.due for one in tries if one.failures and not one.loading), default=NEVER)
