"""Which models a server holds, and which of their versions: `ModelServerConfig` as values."""

import dataclasses
from pathlib import Path

from serving.errors import invalid_argument

__all__ = ["ModelSettings", "settings_from_proto"]

_PLATFORM = "tensorflow"


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """One model: where its version folders lie and which of them are served.

    Attributes:
        base_path: folder with one folder `<version>/` per version.
        num_latest: int, how many of the newest versions are served; 0 for all.
        specific: the versions that are served, whatever else there is; empty to go by `num_latest`.
        labels: pairs of a version's label and its number.
        log_prefix: str, where its requests are logged; empty for where the server logs all.
        log_sampling_rate: float, the share of them that is; `None` for the server's own.
    """

    base_path: Path
    num_latest: int = 1
    specific: tuple[int, ...] = ()
    labels: tuple[tuple[str, int], ...] = ()
    log_prefix: str = ""
    log_sampling_rate: float | None = None

    def choose(self, versions, failed=()):
        """The versions to serve, of those that there are.

        Args:
            versions: iterable of int, the versions in the folder.
            failed: the versions that do not load. They stay wanted, for they are tried again; of the newest, each is
                stood in for by the next older one.

        Returns:
            List of int, ascending.
        """
        versions = sorted(versions)
        if self.specific:
            return [version for version in versions if version in self.specific]
        if not self.num_latest:
            return versions
        chosen, good = [], 0
        for version in reversed(versions):
            if good == self.num_latest:
                break
            chosen.append(version)
            good += version not in failed
        return chosen[::-1]


def settings_from_proto(config):
    """Reads a `ModelServerConfig`.

    Args:
        config: `ModelServerConfig` with a `model_config_list`.

    Returns:
        dict from model name to `ModelSettings`.

    Raises:
        RequestError: `INVALID_ARGUMENT` for another kind of config, or an entry that cannot be served.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise invalid_argument(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported"
        )
    models = {}
    for entry in config.model_config_list.config:
        if not entry.name or not entry.base_path:
            raise invalid_argument(
                f"a model needs a name and a base_path. Received: {entry.name!r}, {entry.base_path!r}"
            )
        if entry.model_platform not in ("", _PLATFORM):
            raise invalid_argument(f"model_platform must be {_PLATFORM!r}. Received: {entry.model_platform!r}")
        if entry.name in models:
            raise invalid_argument(f"Illegal to list model {entry.name} multiple times in config list")
        if not Path(entry.base_path).is_dir():
            raise invalid_argument(f"Could not find base path {entry.base_path} for servable {entry.name}")
        models[entry.name] = _read_entry(entry)
    return models


def _read_entry(entry):
    policy, logged = entry.model_version_policy, entry.logging_config
    kind = policy.WhichOneof("policy_choice")
    return ModelSettings(
        base_path=Path(entry.base_path),
        num_latest=0 if kind == "all" else max(1, policy.latest.num_versions),
        specific=tuple(policy.specific.versions) if kind == "specific" else (),
        labels=tuple(sorted(entry.version_labels.items())),
        log_prefix=logged.log_collector_config.filename_prefix,
        log_sampling_rate=logged.sampling_config.sampling_rate if entry.HasField("logging_config") else None,
    )
