"""Modules of one's own, imported by name so that their classes are known."""

import importlib
import os
import sys

from lts_keras.config.errors import ConfigError

__all__ = ["import_modules"]


def import_modules(names):
    """Imports modules; those in the current folder are found too, also by an installed command.

    Args:
        names: sequence of str, as `imports` in the configuration has them.

    Raises:
        ConfigError: naming the module that is missing or that fails.
    """
    if names and os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever a foreign module raises is one wrong name to the user
            reason = " ".join(str(error).split())
            raise ConfigError(f"imports: {name} cannot be imported: {type(error).__name__}: {reason}") from error
