"""The models that a server holds: finds new versions, swaps them in without a failed request, keeps their states."""

import dataclasses
import logging
import threading

from serving.core.servable import Servable
from serving.core.versions import list_versions
from serving.errors import explain, invalid_argument, not_found

__all__ = ["AVAILABLE", "END", "LOADING", "UNLOADING", "Manager", "VersionState"]

logger = logging.getLogger(__name__)

# Numbers of TensorFlow Serving's `ModelVersionStatus.State`.
LOADING, AVAILABLE, UNLOADING, END = 20, 30, 40, 50
_STATES_KEPT = 20


@dataclasses.dataclass(frozen=True)
class VersionState:
    """State of one version: a number of `ModelVersionStatus.State`, a gRPC status code (0 is well) and a message."""

    state: int
    error_code: int = 0
    error_message: str = ""


class Manager:
    """Loads the versions that should be served and hands them out.

    Requests read one immutable map; a change makes a new map and puts it in place of the old (copy on write), so a
    request never waits for a load and never meets a half-changed state. A new version is loaded and warmed up before
    the old one leaves; the old one lives on until its last request is answered.

    Args:
        settings: dict from model name to `ModelSettings`.
        warm_up: bool. Whether a version's recorded requests are run before it is served.
        load: callable `(folder, name, version, warm_up) -> Servable`.
    """

    def __init__(self, settings, warm_up=True, load=Servable):
        self._settings = dict(settings)
        self._warm_up = warm_up
        self._load = load
        self._servables = {}  # name -> {version: Servable}; replaced, never changed
        self._states = {}  # (name, version) -> VersionState
        self._identities = {}  # (name, version) -> identity of the folder that was loaded, or failed to
        self._changing = threading.RLock()
        self._stopping = threading.Event()
        self._thread = None

    @property
    def names(self):
        """Names of the configured models, served or not."""
        return sorted(self._settings)

    @property
    def ready(self):
        """Whether every configured model has a version that answers."""
        return all(self.serves(name) for name in self._settings)

    @property
    def busy(self):
        """Whether the polling thread still runs, as it does until the end of a load."""
        return self._thread is not None and self._thread.is_alive()

    def serves(self, name):
        """Whether a version of the model answers."""
        return bool(self._servables.get(name))

    def get(self, spec):
        """The servable that a request's `ModelSpec` asks for: the newest, or a version by number or label.

        Raises:
            RequestError: `INVALID_ARGUMENT` without a name, `NOT_FOUND` where there is no such model or version.
        """
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        versions = self._servables.get(spec.name, {})
        choice = spec.WhichOneof("version_choice")
        if choice is None:
            if not versions:
                raise not_found(f"Servable not found for request: Latest({spec.name})")
            return versions[max(versions)]
        if choice == "version_label":
            labels = dict(self._settings[spec.name].labels) if spec.name in self._settings else {}
            if spec.version_label not in labels:
                raise invalid_argument(f"Unrecognized servable version label: {spec.version_label}")
            version = labels[spec.version_label]
        else:
            version = spec.version.value
        if version not in versions:
            raise not_found(f"Servable not found for request: Specific({spec.name}, {version})")
        return versions[version]

    def states(self, name):
        """Returns a dict from version to `VersionState` of one model, empty for an unknown one."""
        states = dict(self._states)
        return {version: state for (model, version), state in sorted(states.items()) if model == name}

    def reload(self, settings):
        """Takes other settings and brings the versions in line with them before it returns."""
        with self._changing:
            self._settings = dict(settings)
            self.refresh()

    def refresh(self):
        """Looks at the folders once; loads what is new, then drops what should no longer be served."""
        with self._changing:
            for name in set(self._settings) | set(self._servables):
                settings = self._settings.get(name)
                found = list_versions(settings.base_path) if settings else {}
                wanted = settings.choose(found) if settings else []
                for version in wanted:
                    if self._identities.get((name, version)) != found[version]:
                        self._load_version(name, version, settings.base_path, found[version])
                self._drop_versions(name, wanted, keep_last=settings is not None)

    def start(self, poll_seconds, after=lambda: None):
        """Looks at the folders every `poll_seconds` from now on, in a thread of its own; 0 switches that off.

        Args:
            poll_seconds: float.
            after: callable without arguments, called after each look.
        """
        if poll_seconds > 0 and not self._stopping.is_set():
            arguments = (poll_seconds, after)
            self._thread = threading.Thread(target=self._poll, args=arguments, name="model-versions", daemon=True)
            self._thread.start()

    def stop(self):
        """Ends the polling; what is loaded stays. A load that runs is not waited for."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=1)

    def _poll(self, poll_seconds, after):
        while not self._stopping.wait(poll_seconds):
            try:
                self.refresh()
                after()
            except Exception:  # a year of polling must outlive one bad look
                logger.exception("Looking for new versions failed; the next look follows")

    def _load_version(self, name, version, base_path, identity):
        # A failed load is tried again only once the folder is another one.
        self._identities[name, version] = identity
        self._states[name, version] = VersionState(LOADING)
        logger.info("Loading %s version %d", name, version)
        try:
            servable = self._load(base_path / identity[0], name, version, self._warm_up)
        except Exception as error:
            code, message = explain(error)
            self._states[name, version] = VersionState(END, code.value[0], message)
            logger.error("Loading %s version %d failed: %s", name, version, message)
            return
        self._replace(name, self._servables.get(name, {}) | {version: servable})
        self._states[name, version] = VersionState(AVAILABLE)
        logger.info("Serving %s version %d", name, version)

    def _drop_versions(self, name, wanted, keep_last):
        """Drops loaded versions that are not wanted, but not the last one while nothing wanted answers."""
        versions = self._servables.get(name, {})
        answering = [version for version in wanted if version in versions]
        for version in sorted(set(versions) - set(wanted)):
            if keep_last and not answering and version == max(versions):
                continue
            self._states[name, version] = VersionState(UNLOADING)
            self._replace(name, {other: servable for other, servable in versions.items() if other != version})
            versions = self._servables.get(name, {})
            self._identities.pop((name, version), None)
            self._states[name, version] = VersionState(END)
            logger.info("Dropped %s version %d", name, version)
        ended = [key for key, state in self._states.items() if key[0] == name and state.state == END]
        for key in sorted(ended)[:-_STATES_KEPT]:
            del self._states[key]

    def _replace(self, name, versions):
        servables = self._servables | {name: versions}
        self._servables = {model: held for model, held in servables.items() if held}
