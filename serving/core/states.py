"""What has become of each version, as TensorFlow Serving's `GetModelStatus` tells it."""

import dataclasses

from serving.core.events import VersionChanged

__all__ = ["AVAILABLE", "END", "LOADING", "UNLOADING", "States", "VersionState"]

# Numbers of TensorFlow Serving's `ModelVersionStatus.State`.
LOADING, AVAILABLE, UNLOADING, END = 20, 30, 40, 50
_ENDED_KEPT = 20


@dataclasses.dataclass(frozen=True)
class VersionState:
    """State of one version: a number of `ModelVersionStatus.State`, a gRPC status code (0 is well) and a message."""

    state: int
    error_code: int = 0
    error_message: str = ""


class States:
    """The states of all versions. Whoever reads never waits; one thread at a time may write.

    Args:
        events: `Events`, where each change is told.
    """

    def __init__(self, events):
        self._events = events
        self._states = {}  # name -> {version: VersionState}; replaced, never changed

    def of(self, name):
        """Returns a dict from version to `VersionState` of one model, ascending, empty for an unknown one."""
        return dict(self._states.get(name, {}))

    def set(self, name, version, state, seconds=None):
        """Writes a state down and tells it, if it is another one, or a load has brought it (`seconds`)."""
        states = self._states.get(name, {})
        if states.get(version) == state and seconds is None:
            return
        states = dict(sorted((states | {version: state}).items()))
        ended = [number for number, one in states.items() if one.state == END]
        for number in ended[:-_ENDED_KEPT]:
            del states[number]
        self._states = self._states | {name: states}
        event = VersionChanged(name, version, state.state, state.error_code, state.error_message, seconds)
        self._events.emit(event)
