"""The models that a server holds: finds new versions, swaps them in without a failed request, keeps their states."""

import contextlib
import dataclasses
import logging
import os
import threading
import time

import grpc

from serving.core.events import SettingsChanged
from serving.core.folders import Folders
from serving.core.held import Held
from serving.core.loading import load_servable
from serving.core.polling import Polling
from serving.core.snapshot import Snapshot
from serving.core.states import AVAILABLE, END, LOADING, UNLOADING, States, VersionState
from serving.core.tries import NEVER, Tries
from serving.core.versions import companions_of
from serving.core.workers import Workers
from serving.errors import RequestError

__all__ = ["AVAILABLE", "END", "LOADING", "UNLOADING", "Manager", "VersionState"]

logger = logging.getLogger(__name__)


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
        self._events = events
        self._load = load
        self._snapshot = Snapshot(dict(settings), {})
        self._states = States(events)
        self._folders = Folders(events)
        self._tries = Tries(options.max_num_load_retries, options.load_retry_interval_seconds)
        self._changing = threading.RLock()  # guards all of the above against a second writer
        self._reloading = threading.Lock()
        # At the start nothing else needs the processors.
        self._workers = Workers("model-load", max(options.num_load_threads, os.cpu_count() or 1))
        self._started = False
        self._stopping = threading.Event()
        seconds = options.poll_seconds if options.poll_seconds > 0 else NEVER
        self._polling = Polling(seconds, self._look, self._arrange_all, self._next_try)

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
        return bool(snapshot.settings) and all(snapshot.versions(name) for name in snapshot.settings)

    @property
    def busy(self):
        """Whether a load runs: it cannot be broken off, and Python must not end under it."""
        return not self._workers.wait(0)

    def serves(self, name):
        """Whether a version of the model answers."""
        return bool(self._snapshot.versions(name))

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
            held = self._snapshot.find(spec)
            if held.acquire():
                break  # else it has just left, and the next look finds what came for it
        try:
            yield held.servable
        finally:
            held.release()

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
                before.check_labels(settings, self._options.allow_version_labels_for_unavailable_models)
                for name in set(before.settings) | set(settings):
                    old, new = before.settings.get(name), settings.get(name)
                    if old is None or new is None or old.base_path != new.base_path:
                        self._folders.forget(name)
                self._snapshot = dataclasses.replace(before, settings=dict(settings))
            self._events.emit(SettingsChanged())
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
            for name, label, version in self._snapshot.dangling_labels():
                logger.warning("Label %s of %s names version %d, which is not served", label, name, version)

    def start(self):
        """Looks at the folders every `poll_seconds` from now on, in a thread of its own, and tries failed loads again.

        With `poll_seconds` 0 it looks once, if nobody has.
        """
        self._polling.start(at_once=not self._started)

    def stop(self):
        """Ends the polling; what is loaded stays. A load that runs is not waited for."""
        self._stopping.set()
        self._workers.drop()
        self._polling.stop()

    def close(self):
        """Ends the polling and frees all models; those that still answer, once they have."""
        self.stop()
        with self._changing:
            self._snapshot = dataclasses.replace(self._snapshot, settings={})
            self._arrange_all()

    def _look(self):
        with self._changing:
            for name, settings in sorted(self._snapshot.settings.items()):
                try:
                    self._folders.look(name, settings)
                except Exception:  # one model's folder must not hide the others
                    logger.exception("Looking for versions of %s failed", name)
            self._arrange_all()

    def _arrange_all(self):
        with self._changing:
            for name in sorted(set(self._snapshot.settings) | set(self._snapshot.held)):
                self._arrange(name)

    def _arrange(self, name):
        """Loads what is missing of one model, and drops what is too much."""
        settings = self._snapshot.settings.get(name)
        found = self._folders.versions(name) if settings else {}
        if found is None:  # no look has succeeded yet
            return
        failed, loaded, wanted = self._tries.failed(name), self._snapshot.versions(name), []
        if settings is not None:
            wanted = settings.choose(found, failed.difference(loaded))
        for version in failed.difference(wanted):
            state = self._tries.state(name, version, version in loaded, wanted=False)
            self._states.set(name, version, state)
        self._tries.keep(name, found)
        for version in wanted:
            self._load_if_due(name, version, found[version])
        kept = loaded.keys() & set(wanted)
        if settings is not None and loaded and not kept:
            kept = {max(loaded)}  # what was served is served until there is something else
        for version in sorted(loaded.keys() - kept):
            self._drop(name, version)

    def _load_if_due(self, name, version, folder):
        held = self._snapshot.versions(name).get(version)
        identity = self._folders.identity(name, folder, held is not None)
        if identity is None:  # it cannot be looked at now, and what is loaded stays
            return
        if held is not None and held.identity == identity:
            if self._tries.forget(name, version):  # what had been put in its place is gone again
                self._states.set(name, version, VersionState(AVAILABLE))
            return
        attempt = self._tries.begin(name, version, identity, companions_of(folder))
        if attempt is not None:
            if held is None:
                self._states.set(name, version, VersionState(LOADING))
            self._workers.submit(lambda: self._load_version(name, version, folder, attempt))

    def _load_version(self, name, version, folder, attempt):
        started = time.monotonic()
        servable = None
        try:
            servable = self._load(folder, name, version, self._options)
        except Exception as error:
            self._tries.note_failure(attempt, error)
        with self._changing:
            attempt.loading = False
            loaded = self._snapshot.versions(name)
            if name not in self._snapshot.settings:  # its model was taken away meanwhile
                if servable is not None:
                    servable.close()
                self._tries.keep(name, ())
                self._states.set(name, version, VersionState(END))
            elif servable is None:
                self._states.set(name, version, self._tries.state(name, version, version in loaded))
            else:
                held = Held(servable, attempt.identity, lambda: self._note_closed(name, version))
                self._snapshot = self._snapshot.with_versions(name, loaded | {version: held})
                self._tries.forget(name, version)
                self._states.set(name, version, VersionState(AVAILABLE), time.monotonic() - started)
                if version in loaded:
                    loaded[version].retire()
            self._arrange(name)
        self._polling.wake()

    def _drop(self, name, version):
        self._states.set(name, version, VersionState(UNLOADING))
        versions = dict(self._snapshot.versions(name))
        held = versions.pop(version)
        self._snapshot = self._snapshot.with_versions(name, versions)
        self._tries.forget(name, version)
        held.retire()

    def _note_closed(self, name, version):
        with self._changing:
            state = self._states.of(name).get(version)
            if state is not None and state.state == UNLOADING:  # else it has been loaded again
                self._states.set(name, version, VersionState(END))

    def _next_try(self):
        with self._changing:
            return min((self._tries.next_due(name) for name in self._snapshot.settings), default=NEVER)

    def _why_missing(self, name):
        for version, state in sorted(self.states(name).items(), reverse=True):
            return f"name: {name} version: {version} due to error: {state.error_message}"
        reasons = [f"{path}: {reason}" for path, reason in self.passed_over(name)]
        return f"name: {name} due to error: {reasons[0] if reasons else 'it has no version'}"
