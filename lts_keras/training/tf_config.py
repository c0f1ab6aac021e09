"""`TF_CONFIG`, read and checked before TensorFlow meets it: what is wrong with it is one line that says so."""

import dataclasses
import json
import os

from lts_keras.config.errors import ConfigError

__all__ = ["Cluster", "read_tf_config"]

_ROLES = ("chief", "worker")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a training, and which of them this process is.

    Attributes:
        addresses: dict `(role, index)` -> `"host:port"`; the chief first.
        own: `(role, index)` of this process.
    """

    addresses: dict
    own: tuple

    @property
    def chief(self):
        """`(role, index)` of the worker that writes files: the chief, or worker 0 where none is called so."""
        return next(iter(self.addresses))

    def name(self, task):
        """A worker as words: `worker 1 (host:port)`."""
        role, index = task
        return f"{role} {index} ({self.addresses[task]})"


def read_tf_config(text=None):
    """Reads `TF_CONFIG`.

    Args:
        text: str, JSON. The environment variable if `None`.

    Returns:
        `Cluster`.

    Raises:
        ConfigError: it is not JSON, or does not name workers, their addresses and which of them this process is.
    """
    if text is None:
        text = os.environ.get("TF_CONFIG", "")
    try:
        values = json.loads(text)
    except ValueError as error:
        raise _wrong("it must be JSON", f"{_short(text)} ({error})") from error
    cluster = values.get("cluster") if isinstance(values, dict) else None
    if not isinstance(cluster, dict) or not cluster:
        raise _wrong('it must be {"cluster": {"worker": ["host:port", ...]}, "task": ...}', _short(text))
    addresses = _addresses(cluster)
    task = values.get("task")
    if not isinstance(task, dict) or not {"type", "index"} <= task.keys():
        raise _wrong('"task" must be {"type": "worker", "index": 0} or another of the cluster', _short(task))
    own = (task["type"], _index(task["index"]))
    if own not in list(addresses):  # a list: what stands there may be no key of a dict
        there = ", ".join(f"{role} {index}" for role, index in addresses)
        raise _wrong(f'"task" must be one of the cluster: {there}', _short(task))
    return Cluster(addresses, own)


def _addresses(cluster):
    unknown = [role for role in cluster if role not in _ROLES]
    if unknown:
        raise _wrong(f"workers train here, all alike; the roles are {' and '.join(_ROLES)}", ", ".join(unknown))
    found = {}
    for role in _ROLES:
        places = cluster.get(role, [])
        if not isinstance(places, list):
            raise _wrong(f'cluster.{role} must be a list of "host:port"', _short(places))
        for index, place in enumerate(places):
            host, _, port = place.rpartition(":") if isinstance(place, str) else ("", "", "")
            if not host or not port.isdecimal() or not 0 < int(port) < 65536:
                raise _wrong(f'cluster.{role}[{index}] must be "host:port"', _short(place))
            if place in found.values():
                raise _wrong("every worker needs an address of its own", f"{place} twice")
            found[role, index] = place
    if len(cluster.get("chief", [])) > 1:
        raise _wrong("there is one chief", f"{len(cluster['chief'])}")
    if not found:
        raise _wrong("cluster must name workers", _short(cluster))
    return found


def _index(value):
    """Some launchers write the index as text."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _short(value):
    text = value if isinstance(value, str) else json.dumps(value)
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _wrong(right, received):
    return ConfigError(f"TF_CONFIG: {right}. Received: {received}")
