"""The folder that TensorFlow Serving watches: numbered versions, of which it serves the highest.

So "what is served" is always the highest number, and going back means publishing an older version's files under a new,
higher one. A version is written aside, under a name that a server passes over, and renamed when it is whole.
"""

import datetime
import json
import os
import shutil
from pathlib import Path

from lts_keras.config.errors import ConfigError
from lts_keras.utils.workdir import lock
from serving.core.versions import list_versions

__all__ = ["LINEAGE", "lineage_of", "publish", "published", "rollback", "served"]

LINEAGE = "assets.extra/lts_lineage.json"
"""Where a version says what it was made of; servers pass over files in `assets.extra` that they do not know."""


def published(serving_dir):
    """Returns a dict from version to its folder, ascending, as a server finds them; empty if there is no folder yet."""
    folder = Path(serving_dir)
    return list_versions(folder) if folder.is_dir() else {}


def lineage_of(serving_dir, version):
    """Returns what a version was made of as a dict, empty for a version that this pipeline did not publish."""
    try:
        return json.loads((published(serving_dir)[version] / LINEAGE).read_text(encoding="utf-8"))
    except (OSError, KeyError, ValueError):
        return {}


def served(serving_dir):
    """Returns `(version, lineage)` of the newest version, or `(None, {})`."""
    newest = max(published(serving_dir), default=None)
    return (None, {}) if newest is None else (newest, lineage_of(serving_dir, newest))


def publish(serving_dir, source, lineage):
    """Copies the SavedModel in `source` to the next version number.

    Args:
        serving_dir: the watched folder; made if need be.
        source: folder of the SavedModel.
        lineage: dict stored with the version, for `lineage_of`.

    Returns:
        The version, an int above all that are there.

    Raises:
        lts_keras.utils.workdir.BusyError: if another process publishes into this folder for more than a minute.
    """
    serving_dir = Path(serving_dir)
    with lock(serving_dir / ".publish.lock", wait_seconds=60):
        # Left by a process that was killed; nobody else writes here while the lock is held.
        for rest in serving_dir.glob(".publishing-*"):
            shutil.rmtree(rest)
        version = max(published(serving_dir), default=0) + 1
        aside = serving_dir / f".publishing-{version}"
        shutil.copytree(source, aside)
        time = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        path = aside / LINEAGE
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({**lineage, "version": version, "published": time}, indent=1), encoding="utf-8")
        os.rename(aside, serving_dir / str(version))
    return version


def rollback(serving_dir, to=None):
    """Publishes an older version's files as the newest.

    Args:
        serving_dir: the watched folder.
        to: version to go back to; by default the one that was published before what is served, so that going back
            twice goes back two steps.

    Returns:
        `(new version, version it is a copy of)`.

    Raises:
        ConfigError: if there is no such version.
    """
    versions = published(serving_dir)
    if not versions:
        raise ConfigError(f"{serving_dir} holds no version")
    if to is None:
        current = _origin(serving_dir, max(versions))
        older = [version for version in versions if version < current and _origin(serving_dir, version) == version]
        if not older:
            raise ConfigError(f"{serving_dir} holds no version older than {current}, which is served")
        to = older[-1]
    elif to not in versions:
        raise ConfigError(f"{serving_dir} holds no version {to}; there are {', '.join(map(str, versions))}")
    origin = _origin(serving_dir, to)
    return publish(serving_dir, versions[to], {**lineage_of(serving_dir, to), "copy_of": origin}), to


def _origin(serving_dir, version):
    """The version that a rolled-back one is a copy of, itself for any other."""
    return lineage_of(serving_dir, version).get("copy_of", version)
