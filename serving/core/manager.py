"""The models that a server holds: finds new versions, swaps them in without a failed request, keeps their states."""

import contextlib
import dataclasses
import logging
import os
import threading
import time

import grpc

from serving.core.folders import Folders
from serving.core.held import Held
from serving.core.loading import load_servable
from serving.core.settings import ModelSettings
from serving.core.states import AVAILABLE, END, LOADING, UNLOADING, States, VersionState
from serving.core.workers import Workers
from serving.errors import RequestError, explain, invalid_argument, not_found

__all__ = ["AVAILABLE", "END", "LOADING", "UNLOADING", "Manager", "VersionState"]

logger = logging.getLogger(__name__)

_NEVER = float("inf")


@dataclasses.dataclass(frozen=True)
class _Snapshot:
    """What requests read: settings and loaded versions of one moment. Replaced, never changed."""

    settings: dict[str, ModelSettings]
    held: dict[str, dict[int, Held]]


@dataclasses.dataclass
class _Try:
    """The loads of a version with one content of its folder."""

    identity: tuple
    failures: int = 0
    due: float = 0.0
    loading: bool = False


class Manager:
    """Loads the versions that should be served and lends them out.

    Requests read one immutable snapshot; a change puts another in its place, so a request never waits for a load and
    never meets a half-changed state. A new version is loaded and warmed up before the old one leaves; the old one lives
    on until its last request is answered. Of a model whose newest version does not load, the newest that does is
    served; the other is tried again.

    Args:
        settings: dict from model name to `ModelSettings`.
        options: `ServerOptions`.
        events: `Events`, where changes of versions and what is wrong with folders are told.
        load: callable `(folder, name, version, options) -> Servable`.
    """

    def __init__(self, settings, options, events, load=load_servable):
        self._options = options
        self._load = load
        self._snapshot = _Snapshot(dict(settings), {})
        self._states = States(events)
        self._folders = Folders(events)
        self._tries = {}  # (name, version) -> _Try
        self._changing = threading.RLock()  # guards all of the above against a second writer
        self._reloading = threading.Lock()
        # At the start nothing else needs the processors.
        self._workers = Workers("model-load", max(options.num_load_threads, os.cpu_count() or 1))
        self._started = False
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread = None

    @property
    def settings(self):
        """The settings that hold now, a dict from model name to `ModelSettings`."""
        return dict(self._snapshot.settings)

    @property
    def names(self):
        """Names of the configured models, served or not."""
        return sorted(self._snapshot.settings)

    @property
    def ready(self):
        """Whether there are models, and every one has a version that answers."""
        snapshot = self._snapshot
        return bool(snapshot.settings) and all(snapshot.held.get(name) for name in snapshot.settings)

    @property
    def busy(self):
        """Whether a load runs: it cannot be broken off, and Python must not end under it."""
        return not self._workers.wait(0)

    def serves(self, name):
        """Whether a version of the model answers."""
        return bool(self._snapshot.held.get(name))

    def states(self, name):
        """Returns a dict from version to `VersionState` of one model, ascending, empty for an unknown one."""
        return self._states.of(name)

    def passed_over(self, name):
        """Returns pairs of a path and the reason why nothing is served from it, of what may have been meant to be."""
        return self._folders.passed_over(name)

    @contextlib.contextmanager
    def lease(self, spec):
        """Lends the servable that a request's `ModelSpec` asks for: the newest, or a version by number or label.

        It is not closed before the block ends, whatever becomes of its version.

        Raises:
            RequestError: `INVALID_ARGUMENT` without a name or for an unknown label, `NOT_FOUND` where there is no such
                model or version.
        """
        while True:
            held = _find(self._snapshot, spec)
            if held.acquire():
                break  # else it has just left, and the next look finds what came for it
        try:
            yield held.servable
        finally:
            held.release()

    def get(self, spec):
        """The servable that a `ModelSpec` asks for; it may be closed at any time: `lease` is for requests."""
        return _find(self._snapshot, spec).servable

    def reload(self, settings):
        """Takes other settings, as `HandleReloadConfigRequest` does, and brings the versions in line with them.

        Args:
            settings: dict from model name to `ModelSettings`.

        Raises:
            RequestError: `FAILED_PRECONDITION` if a label is moved to a version that is not served; then nothing
                changes. `UNKNOWN` if a new model does not become available; the settings hold.
        """
        with self._reloading:
            with self._changing:
                before = self._snapshot
                self._check_labels(before, settings)
                for name in set(before.settings) | set(settings):
                    old, new = before.settings.get(name), settings.get(name)
                    if old is None or new is None or old.base_path != new.base_path:
                        self._folders.forget(name)
                self._snapshot = dataclasses.replace(before, settings=dict(settings))
            self.refresh()
            missing = [name for name in settings if name not in before.settings and not self.serves(name)]
        if missing:
            reasons = ", ".join(f"{{{self._why_missing(name)}}}" for name in sorted(missing))
            message = f"{len(missing)} model(s) did not become available: {{{reasons}}}"
            raise RequestError(grpc.StatusCode.UNKNOWN, message)

    def refresh(self):
        """Looks at the folders once, and returns when what is new in them is loaded, or found not to load."""
        self._look()
        while not self._stopping.is_set() and not self._workers.wait(0.5):
            pass
        if not self._started:
            self._started, self._workers.limit = True, max(1, self._options.num_load_threads)

    def start(self):
        """Looks at the folders every `poll_seconds` from now on, in a thread of its own, and tries failed loads again.

        With `poll_seconds` 0 it looks once, if nobody has.
        """
        if self._thread is None and not self._stopping.is_set():
            self._thread = threading.Thread(target=self._poll, name="model-versions", daemon=True)
            self._thread.start()

    def stop(self):
        """Ends the polling; what is loaded stays. A load that runs is not waited for."""
        self._stopping.set()
        self._wake.set()
        self._workers.drop()
        if self._thread is not None:
            self._thread.join(timeout=1)

    def close(self):
        """Ends the polling and frees all models; those that still answer, once they have."""
        self.stop()
        with self._changing:
            before, self._snapshot = self._snapshot, _Snapshot({}, {})
        for versions in before.held.values():
            for held in versions.values():
                held.retire()

    def _poll(self):
        seconds = self._options.poll_seconds if self._options.poll_seconds > 0 else _NEVER
        look = time.monotonic() + seconds if self._started else 0.0
        while not self._stopping.is_set():
            now = time.monotonic()
            try:
                if now >= look:
                    look = now + seconds
                    self._look()
                elif now >= self._next_try():
                    self._arrange_all()
            except Exception:  # a year of polling must outlive one bad look
                logger.exception("Looking for new versions failed; the next look follows")
            pause = min(look, self._next_try()) - time.monotonic()
            self._wake.wait(None if pause == _NEVER else max(0.01, pause))
            self._wake.clear()

    def _look(self):
        with self._changing:
            for name, settings in sorted(self._snapshot.settings.items()):
                try:
                    self._folders.look(name, settings.base_path)
                except Exception:  # one model's folder must not hide the others
                    logger.exception("Looking for versions of %s failed", name)
            self._arrange_all()

    def _arrange_all(self):
        with self._changing:
            for name in sorted(set(self._snapshot.settings) | set(self._snapshot.held)):
                self._arrange(name)

    def _arrange(self, name):
        """Loads what is missing of one model, and drops what is too much."""
        snapshot = self._snapshot
        settings, held = snapshot.settings.get(name), snapshot.held.get(name, {})
        if settings is None:
            for version in sorted(held):
                self._drop(name, version)
            return
        found = self._folders.versions(name)
        if found is None:  # no look has succeeded yet
            return
        for version in [version for model, version in self._tries if model == name and version not in found]:
            if not self._tries[name, version].loading:
                del self._tries[name, version]
        failed = [version for version in found if version not in held and self._has_failed(name, version)]
        wanted = settings.choose(found, failed)
        for version in wanted:
            self._load_if_due(name, version, found[version], held.get(version))
        # Whatever has been looked at, a model is never left without a version because of what is in its folder.
        kept = held.keys() & set(wanted) or {max(held, default=0)}
        for version in sorted(held.keys() - kept):
            self._drop(name, version)

    def _has_failed(self, name, version):
        attempt = self._tries.get((name, version))
        return attempt is not None and attempt.failures > 0

    def _load_if_due(self, name, version, folder, held):
        identity = self._folders.identity(name, folder, held is not None)
        if identity is None:  # it cannot be looked at now, and what is loaded stays
            return
        attempt = self._tries.get((name, version))
        if attempt is not None and attempt.loading:
            return
        if held is not None and held.identity == identity:
            if self._tries.pop((name, version), None):  # what had been put in its place is gone again
                self._states.set(name, version, VersionState(AVAILABLE))
            return
        if attempt is None or attempt.identity != identity:
            attempt = self._tries[name, version] = _Try(identity)
        elif time.monotonic() < attempt.due:
            return
        attempt.loading = True
        if held is None:
            self._states.set(name, version, VersionState(LOADING))
        logger.info("Loading %s version %d", name, version)
        self._workers.submit(lambda: self._load_version(name, version, folder, attempt))

    def _load_version(self, name, version, folder, attempt):
        started = time.monotonic()
        servable = error = None
        try:
            servable = self._load(folder, name, version, self._options)
        except Exception as caught:
            error = caught
        with self._changing:
            attempt.loading = False
            current = self._tries.get((name, version)) is attempt and name in self._snapshot.settings
            if error is not None:
                self._note_failure(name, version, attempt, error)
            elif current:
                self._serve(servable, attempt.identity, time.monotonic() - started)
            else:
                servable.close()
                self._states.set(name, version, VersionState(END))
            self._arrange(name)
        self._wake.set()

    def _serve(self, servable, identity, seconds):
        name, version = servable.name, servable.version
        held = Held(servable, identity, lambda: self._note_closed(name, version))
        before = self._snapshot.held.get(name, {})
        self._publish(name, before | {version: held})
        self._tries.pop((name, version), None)
        self._states.set(name, version, VersionState(AVAILABLE), seconds)
        logger.info("Serving %s version %d", name, version)
        if version in before:
            before[version].retire()

    def _note_failure(self, name, version, attempt, error):
        code, message = explain(error)
        attempt.failures += 1
        left = self._options.max_num_load_retries + 1 - attempt.failures
        pause = self._options.load_retry_interval_seconds
        again = left > 0
        attempt.due = time.monotonic() + max(0.0, pause) if again else _NEVER
        logger.error("Loading %s version %d failed: %s", name, version, message)
        if again:
            message += f"; it is tried again in {max(0.0, pause):g} s, {left} more times, and when its files change"
        state = END
        if version in self._snapshot.held.get(name, {}):
            state, message = AVAILABLE, f"its files were replaced, and what was loaded before still answers: {message}"
        self._states.set(name, version, VersionState(state, code.value[0], message))

    def _drop(self, name, version):
        self._states.set(name, version, VersionState(UNLOADING))
        versions = dict(self._snapshot.held[name])
        held = versions.pop(version)
        self._publish(name, versions)
        self._tries.pop((name, version), None)
        logger.info("Dropping %s version %d", name, version)
        held.retire()

    def _note_closed(self, name, version):
        with self._changing:
            state = self._states.of(name).get(version)
            if state is not None and state.state == UNLOADING:  # else it has been loaded again
                self._states.set(name, version, VersionState(END))

    def _publish(self, name, versions):
        held = self._snapshot.held | {name: versions}
        held = {model: loaded for model, loaded in held.items() if loaded}
        self._snapshot = dataclasses.replace(self._snapshot, held=held)

    def _next_try(self):
        with self._changing:
            return min((one.due for one in self._tries.values() if one.failures and not one.loading), default=_NEVER)

    def _check_labels(self, snapshot, settings):
        """Refuses labels as TensorFlow Serving does: before anything is loaded for them."""
        for name, model in settings.items():
            old = dict(snapshot.settings[name].labels) if name in snapshot.settings else {}
            for label, version in model.labels:
                if old.get(label) == version or version in snapshot.held.get(name, {}):
                    continue
                if label in old or not self._options.allow_version_labels_for_unavailable_models:
                    message = (
                        f"Request to assign label to version {version} of model {name}, which is not currently "
                        "available for inference"
                    )
                    raise RequestError(grpc.StatusCode.FAILED_PRECONDITION, message)

    def _why_missing(self, name):
        for version, state in sorted(self.states(name).items(), reverse=True):
            return f"name: {name} version: {version} due to error: {state.error_message}"
        reasons = [f"{path}: {reason}" for path, reason in self.passed_over(name)]
        return f"name: {name} due to error: {reasons[0] if reasons else 'it has no version'}"


def _find(snapshot, spec):
    """The `Held` that a `ModelSpec` asks for."""
    if not spec.name:
        raise invalid_argument("ModelSpec has no name specified.")
    versions = snapshot.held.get(spec.name, {})
    choice = spec.WhichOneof("version_choice")
    if choice is None:
        if not versions:
            raise not_found(f"Servable not found for request: Latest({spec.name})")
        return versions[max(versions)]
    if choice == "version_label":
        labels = dict(snapshot.settings[spec.name].labels) if spec.name in snapshot.settings else {}
        if spec.version_label not in labels:
            raise invalid_argument(f"Unrecognized servable version label: {spec.version_label}")
        version = labels[spec.version_label]
    else:
        version = spec.version.value
    if version not in versions:
        raise not_found(f"Servable not found for request: Specific({spec.name}, {version})")
    return versions[version]
