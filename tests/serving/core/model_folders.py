"""Folders of versions, and waiting for what a manager makes of them."""

import os
import shutil
import time

import numpy as np

from serving.core.events import Events
from serving.core.manager import Manager
from serving.core.settings import ModelSettings
from serving.options import ServerOptions
from serving.wire.protos import ModelSpec

OPTIONS = ServerOptions(poll_seconds=0.02, load_retry_interval_seconds=0.1, max_num_load_retries=2)


def publish(source, base, name):
    """Copies a SavedModel aside and renames it, so that it is there all at once."""
    aside = base / f".{name}"
    shutil.copytree(source, aside)
    os.rename(aside, base / str(name))
    return base / str(name)


def break_version(base, name):
    """A version that does not load."""
    (base / str(name)).mkdir()
    (base / str(name) / "saved_model.pb").write_bytes(b"not a graph")
    return base / str(name)


def wait_for(condition, seconds=20):
    """Returns the condition's value once it is true; fails after so many seconds."""
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < until, "did not happen"
        time.sleep(0.005)


def spec(name="m", version=None, label=None):
    """A `ModelSpec`."""
    made = ModelSpec(name=name)
    if version is not None:
        made.version.value = version
    if label is not None:
        made.version_label = label
    return made


class Watched:
    """A `Manager` whose events are kept.

    Args:
        settings: folder of the model "m", or dict from model name to `ModelSettings`.
        options: `ServerOptions`.
        more: further arguments of `Manager`.
    """

    def __init__(self, settings, options=OPTIONS, **more):
        self.events = []
        events = Events()
        events.subscribe(self.events.append)
        settings = settings if isinstance(settings, dict) else {"m": ModelSettings(settings)}
        self.manager = Manager(settings, options, events, **more)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.manager.close()
        wait_for(lambda: not self.manager.busy)  # Python must not end under a load

    def of(self, kind):
        """The events of one class."""
        return [event for event in self.events if isinstance(event, kind)]

    def ask(self, x=1.0, **choice):
        """The version that answers, and y of x."""
        with self.manager.lease(spec(**choice)) as servable:
            return servable.version, ask(servable, x)

    def served(self):
        """The version that answers."""
        return self.ask()[0]

    def state(self, version, name="m"):
        """The number of a version's state, `None` for an unknown one."""
        state = self.manager.states(name).get(version)
        return state and state.state


def ask(servable, x=1.0):
    """y of x."""
    outputs = servable.run("serving_default", {"x": np.array([[x]], np.float32)}, ["y"])
    return outputs["y"].item()
