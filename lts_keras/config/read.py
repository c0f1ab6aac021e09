"""Reads configurations: YAML files hold differences only, `a.b=c` on the command line overrides them.

The resolved configuration is written beside every checkpoint and export.
"""

import difflib
from pathlib import Path
from typing import Any

import pydantic
import yaml

from lts_keras.config.errors import ConfigError
from lts_keras.config.schema import (
    CocoSource,
    Config,
    ManifestSource,
    ParquetSource,
    ReferSource,
    ScenesSource,
)

__all__ = ["Config", "ConfigError", "dump_config", "load_config", "parse_config"]


def load_config(path, overrides=()):
    """Reads a YAML file of differences and applies `a.b=c` overrides.

    Args:
        path: path of the YAML file.
        overrides: strings of the form `section.key=value`; the value is YAML, list items go by index.

    Returns:
        A frozen `Config`.

    Raises:
        ConfigError: for a missing or unreadable file, an unknown key, a wrong type or an impossible combination.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: the file must hold `key: value` lines. Received: {type(values).__name__}")
    return parse_config(values, overrides, origin=str(path))


def parse_config(values, overrides=(), origin="config"):
    """Makes a `Config` of plain values; as `load_config`, with `origin` named in errors."""
    values = _copy(values)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"an override has the form section.key=value. Received: {override!r}")
        try:
            _assign(values, key.strip().split("."), yaml.safe_load(text), override)
        except yaml.YAMLError as error:
            raise ConfigError(f"override {override!r}: the value is not YAML") from error
    try:
        return Config.model_validate(_place_root(values))
    except pydantic.ValidationError as error:
        raise ConfigError(f"{origin}: {_explain(error)}") from None


def dump_config(config):
    """Returns the resolved configuration as YAML text that `load_config` reads back to an equal one."""
    # Other letters escaped: YAML's line breaks are not all a reader's.
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _place_root(values):
    """Fills `{data.root}` in the paths of `weights`, for files that lie beside the data."""
    data, weights = values.get("data"), values.get("weights")
    root = str(data.get("root", ".")) if isinstance(data, dict) else "."
    if isinstance(weights, dict):
        paths = {
            key: path.replace("{data.root}", root) if isinstance(path, str) else path for key, path in weights.items()
        }
        values = values | {"weights": paths}
    return values


def _copy(value):
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list | tuple) else value


def _assign(values: dict, keys: list[str], value: Any, override: str):
    """Sets `values[a][b] = value`; makes sections that are not there yet."""
    place: Any = values
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        if isinstance(place, list):
            if not key.isdigit() or int(key) >= len(place):
                raise ConfigError(f"override {override!r}: {key!r} is not an index below {len(place)}")
            key = int(key)
        elif not isinstance(place, dict):
            raise ConfigError(f"override {override!r}: {'.'.join(keys[:depth])} is a value, not a section")
        if last:
            place[key] = value
        elif isinstance(place, dict):
            if place.get(key) is None:
                place[key] = {}
            place = place[key]
        else:
            place = place[key]


def _explain(error: pydantic.ValidationError):
    """One line for the first problem: key, what is wrong, nearest valid key or what was received."""
    problem = error.errors()[0]
    place = [part for part in problem["loc"] if part not in _SOURCE_KINDS]
    key = ".".join(str(part) for part in place)
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(place[-1]), _keys_at(place[:-1], problem["loc"]), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"unknown key {key!r}{hint}"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    return f"{key or 'configuration'}: {problem['msg'].lower()}. Received: {problem['input']!r}"


_SOURCE_CLASSES = {
    source.model_fields["kind"].default: source
    for source in (ScenesSource, ReferSource, ParquetSource, CocoSource, ManifestSource)
}
_SOURCE_KINDS = frozenset(_SOURCE_CLASSES)


def _keys_at(place, location):
    """Valid keys of the section at `place`, for the hint of an unknown key."""
    section: Any = Config
    for part in place:
        if part == "sources":
            kind = next((item for item in location if item in _SOURCE_KINDS), "scenes")
            section = _SOURCE_CLASSES[kind]
        elif isinstance(part, str) and part in getattr(section, "model_fields", {}):
            section = section.model_fields[part].annotation
    return list(getattr(section, "model_fields", {}))
