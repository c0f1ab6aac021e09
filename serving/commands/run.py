"""Runs a command: an exit code, and one line where it fails."""

import io
import sys
import traceback

__all__ = ["one_line", "run_command"]

_LONGEST = 300


def run_command(name, function, *, verbose=False):
    """Calls `function()` and turns its failure into one line on the error stream.

    Args:
        name: str, what stands before the line, for example `"serving predict"`.
        function: callable without arguments.
        verbose: bool. Whether a traceback comes first.

    Returns:
        Exit code: 0; the `exit_code` of an error that has one (2 for what the caller can mend); 130 when interrupted;
        1 for anything else.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Progress shows at once in a log file too; what the terminal's encoding lacks is written as an escape.
        sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    try:
        function()
        return 0
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if verbose:
            traceback.print_exc()
        print(f"{name}: {one_line(error)}", file=sys.stderr)
        return getattr(error, "exit_code", 1)


def one_line(error):
    """An error's message on one line; one that nobody worded for a reader has its class in front and is cut."""
    message = " ".join(str(error).split())
    if hasattr(error, "exit_code"):
        return message
    return f"{type(error).__name__}: {message if len(message) <= _LONGEST else message[:_LONGEST] + ' ...'}"
