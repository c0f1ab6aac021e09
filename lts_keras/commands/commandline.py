"""What the command lines of this project share: arguments for a configuration, and one line for an error."""

import io
import sys
from pathlib import Path

from lts_keras.config.errors import ConfigError
from lts_keras.data.schema import DataError
from lts_keras.weights import WeightsError

__all__ = ["add_config_arguments", "is_users", "one_line", "parse", "run_command"]

EXIT_CODES = "exit codes: 0 done, 1 failed, 2 wrong use, configuration or data"


def add_config_arguments(parser, default=None, required=True):
    """Adds `--config` and `a.b=c` overrides.

    Args:
        parser: `argparse.ArgumentParser`.
        default: path used where `--config` is not given.
        required: bool. Whether `--config` must be given where there is no default.
    """
    text = "YAML file of differences from the defaults" + (f" (default: {default})" if default else "")
    required = required and default is None
    parser.add_argument("--config", type=Path, required=required, default=default, metavar="FILE", help=text)
    parser.add_argument("overrides", nargs="*", metavar="a.b=c", help="values that replace those of the file")


def parse(parser, arguments=None):
    """Parses; unlike argparse alone, takes overrides anywhere behind the command.

    A command that sets the default `subject=None` takes one further word anywhere, without `=` or the path of a file.

    Returns:
        The namespace.

    Raises:
        SystemExit: with code 2 and one line for wrong use.
    """
    options, rest = parser.parse_known_args(arguments)
    words = [*getattr(options, "overrides", []), *rest]
    if hasattr(options, "subject"):
        options.subject = next((w for w in words if not w.startswith("-") and ("=" not in w or Path(w).exists())), None)
        options.overrides = words = [word for word in words if word != options.subject]
    wrong = [word for word in words if word.startswith("-") or "=" not in word or not hasattr(options, "overrides")]
    if wrong:
        parser.error(f"unknown arguments: {' '.join(wrong)}")
    if words:
        options.overrides = words
    return options


def run_command(name, function, *, verbose=False):
    """Calls `function()` and turns its failure into one line on the error stream.

    Args:
        name: what stands before the line, for example `"lts train"`.
        function: callable without arguments.
        verbose: bool. Whether a traceback comes first.

    Returns:
        Exit code: 0; 2 for a wrong configuration, wrong data or weights; 130 when interrupted; an error's own
        `exit_code`, if it has one; 1 for anything else.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Progress shows at once in a log file too; what the terminal's encoding lacks is written as an escape.
        sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    try:
        function()
        return 0
    except KeyboardInterrupt:
        print(f"{name}: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except Exception as error:
        if verbose:
            import traceback

            traceback.print_exc()
        print(f"{name}: {one_line(error)}", file=sys.stderr)
        return getattr(error, "exit_code", 2 if is_users(error) else 1)


def one_line(error):
    """An error's message on one line; one that nobody worded for a reader has its class in front and is cut."""
    message = " ".join(str(error).split())
    if is_users(error) or hasattr(error, "exit_code"):
        return message
    return f"{type(error).__name__}: {message if len(message) <= 300 else message[:300] + ' ...'}"


def is_users(error):
    """Whether `error` says that configuration, data or weights are wrong, and not the code."""
    return isinstance(error, ConfigError | DataError | WeightsError)
