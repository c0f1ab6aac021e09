"""What is wrong with a configuration; apart from the reader, so that models need neither pydantic nor YAML."""

__all__ = ["ConfigError"]


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the file, the key, what was found and what is right."""
