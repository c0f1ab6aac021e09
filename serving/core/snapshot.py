"""What requests read of a manager, all of one moment: settings and loaded versions."""

import dataclasses

import grpc

from serving.core.held import Held
from serving.core.settings import ModelSettings
from serving.errors import RequestError, invalid_argument, not_found

__all__ = ["Snapshot"]


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Replaced by another, never changed.

    Attributes:
        settings: dict from model name to `ModelSettings`.
        held: dict from model name to a dict from version to `Held`; no model without a version.
    """

    settings: dict[str, ModelSettings]
    held: dict[str, dict[int, Held]]

    def versions(self, name):
        """Returns a dict from version to `Held` of one model."""
        return self.held.get(name, {})

    def with_versions(self, name, versions):
        """Returns a snapshot with other versions of one model."""
        held = {model: loaded for model, loaded in (self.held | {name: versions}).items() if loaded}
        return dataclasses.replace(self, held=held)

    def find(self, spec):
        """The `Held` that a request's `ModelSpec` asks for: the newest, or a version by number or label.

        Raises:
            RequestError: `INVALID_ARGUMENT` without a name or for an unknown label, `NOT_FOUND` where there is no such
                model or version.
        """
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        versions = self.versions(spec.name)
        choice = spec.WhichOneof("version_choice")
        if choice is None:
            if not versions:
                raise not_found(f"Servable not found for request: Latest({spec.name})")
            return versions[max(versions)]
        version = self._version_of_label(spec) if choice == "version_label" else spec.version.value
        if version not in versions:
            raise not_found(f"Servable not found for request: Specific({spec.name}, {version})")
        return versions[version]

    def check_labels(self, settings, allow_unavailable):
        """Looks whether labels may be set, as TensorFlow Serving does: before anything is loaded for them.

        Args:
            settings: dict from model name to the `ModelSettings` that shall hold.
            allow_unavailable: bool. Whether a new label may name a version that is not served; one that exists may not
                be moved to one even then, for its requests would fail.

        Raises:
            RequestError: `FAILED_PRECONDITION`.
        """
        for name, model in settings.items():
            before = dict(self.settings[name].labels) if name in self.settings else {}
            for label, version in model.labels:
                if version in self.versions(name) or before.get(label) == version:
                    continue
                if label in before or not allow_unavailable:
                    raise RequestError(
                        grpc.StatusCode.FAILED_PRECONDITION,
                        f"Request to assign label to version {version} of model {name}, which is not currently "
                        "available for inference",
                    )

    def dangling_labels(self):
        """Returns model, label and version of each label whose version is not served: its requests are answered
        `NOT_FOUND`.
        """
        return [
            (name, label, version)
            for name, model in sorted(self.settings.items())
            for label, version in model.labels
            if version not in self.versions(name)
        ]

    def _version_of_label(self, spec):
        labels = dict(self.settings[spec.name].labels) if spec.name in self.settings else {}
        if spec.version_label not in labels:
            raise invalid_argument(f"Unrecognized servable version label: {spec.version_label}")
        return labels[spec.version_label]
