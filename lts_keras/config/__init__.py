"""The configuration: schema, reader, errors."""

__all__ = ["Config", "ConfigError", "dump_config", "load_config", "parse_config"]


def __getattr__(name):
    # On first use: an error class alone needs neither pydantic nor YAML.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lts_keras.config import read

    return getattr(read, name)
