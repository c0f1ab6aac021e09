"""What is known of models' folders: the last look that succeeded, and what is wrong with them, told once."""

from serving.core.events import FolderPassedOver, LookFailed
from serving.core.versions import identity_of, look

__all__ = ["Folders"]

_MISSING = "the version policy asks for it, and there is no such folder"


class Folders:
    """Remembers the versions of each model. An error changes nothing: what was there before still is.

    Args:
        events: `Events`.
    """

    def __init__(self, events):
        self._events = events
        self._versions = {}  # name -> {version: folder}
        self._passed_over = {}  # name -> pairs of path and reason
        self._troubles = {}  # (name, path) -> reason of the last failed look

    def forget(self, name):
        """The model has another folder, or is gone."""
        self._versions.pop(name, None)
        self._passed_over = {key: value for key, value in self._passed_over.items() if key != name}
        self._troubles = {key: value for key, value in self._troubles.items() if key[0] != name}

    def versions(self, name):
        """Returns a dict from version to the path of its folder; `None` if no look has succeeded."""
        return self._versions.get(name)

    def passed_over(self, name):
        """Returns pairs of a path and the reason why nothing is served from it, or what is new there is not seen."""
        troubles = dict(self._troubles).items()
        unseen = [(path, f"it cannot be looked at: {reason}") for (model, path), reason in troubles if model == name]
        return [*self._passed_over.get(name, ()), *unseen]

    def look(self, name, settings):
        """Looks at a model's folder; if it cannot be read, tells so, and what was known stays.

        Args:
            name: str, the model.
            settings: `ModelSettings`.
        """
        base_path = settings.base_path
        try:
            listing = look(base_path)
        except OSError as error:
            self._tell_trouble(name, base_path, error)
            return
        self._troubles.pop((name, str(base_path)), None)
        known = set(self._passed_over.get(name, ()))
        missing = sorted(set(settings.specific).difference(listing.versions))
        passed_over = (*listing.passed_over, *((str(base_path / str(version)), _MISSING) for version in missing))
        self._passed_over = self._passed_over | {name: passed_over}
        for path, reason in passed_over:
            if (path, reason) not in known:
                self._events.emit(FolderPassedOver(name, path, reason))
        self._versions[name] = listing.versions

    def identity(self, name, folder, loaded):
        """What a version's folder is now.

        Args:
            name: str, the model.
            folder: path.
            loaded: bool, whether the version is loaded.

        Returns:
            A tuple that changes when the folder is replaced or completed. If it cannot be looked at: `None` for a
            version that is loaded, so that it stays; else the reason, so that a load finds out.
        """
        try:
            identity = identity_of(folder)
        except OSError as error:
            self._tell_trouble(name, folder, error)
            return None if loaded else (str(folder), str(error))
        self._troubles.pop((name, str(folder)), None)
        return identity

    def _tell_trouble(self, name, path, error):
        reason = f"{type(error).__name__}: {error.strerror or error}"
        if self._troubles.get((name, str(path))) != reason:
            self._troubles[name, str(path)] = reason
            self._events.emit(LookFailed(name, str(path), reason))
