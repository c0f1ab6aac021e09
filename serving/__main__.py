"""`python -m serving`: finds the command, which parses its own arguments and imports what it needs itself.

A module of `serving/commands` has `add_arguments(parser)` and `run(options)`; `server`, whose flags are a table, has
`run(words)`.
"""

import argparse
import importlib
import os
import sys

from serving.commands.run import run_command

__all__ = ["COMMANDS", "main", "make_parser"]

COMMANDS = {
    "server": "serve the newest versions in folders, and each that follows",
    "predict": "ask a server about one photo",
    "load-test": "measure a server",
    "demo": "a page to try a server in the browser",
}
"""dict from the name of a command to what it does."""

EXAMPLES = """examples:
  python -m serving server --port 8500 --model_name lts --model_base_path runs/mine/serving
  python -m serving predict --target localhost:8500 --image photo.jpg \\
                            --expression "the left dog" --expression "the red cup" --output overlay.png
  python -m serving COMMAND --help

The server takes the flags of tensorflow_model_server and answers in the same way.
exit codes: 0 done, 1 failed, 2 wrong use, data, port or folder
"""


def make_parser():
    """Returns the parser of the command's name; what follows is the command's own."""
    names = "\n".join(f"  {name:<10} {text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m serving",
        description=f"Serves exported models, and asks a server.\n\ncommands:\n{names}",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="command")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def main(arguments=None):
    """Runs one command; returns the exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # a failed handshake is told once, by the command
    chosen = make_parser().parse_args(arguments)
    name = f"serving {chosen.command}"
    module = importlib.import_module(f"serving.commands.{chosen.command.replace('-', '_')}")
    if chosen.command == "server":
        words = chosen.arguments
        return run_command(name, lambda: module.run(words), verbose="--verbose" in words)
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=COMMANDS[chosen.command])
    parser.add_argument("--verbose", action="store_true", help="show the traceback of a failure")
    module.add_arguments(parser)
    options = parser.parse_args(chosen.arguments)
    return run_command(name, lambda: module.run(options), verbose=options.verbose)


if __name__ == "__main__":
    sys.exit(main())
