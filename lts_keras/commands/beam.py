"""`lts prepare` under Apache Beam.

    python -m lts_keras.commands.beam --config C --workdir W [--runner FlinkRunner --flink_master=...] [a.b=c ...]

Options that Beam knows are passed on to it.
"""

import argparse
import sys
from pathlib import Path

from lts_keras.commands.commandline import EXIT_CODES, add_config_arguments, run_command
from lts_keras.commands.resolved import print_resolved
from lts_keras.config.read import dump_config, load_config
from lts_keras.data.prepare.beam import IN_PROCESS, prepare_with_beam
from lts_keras.utils.files import atomic_write

__all__ = ["main"]


def main(arguments=None):
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m lts_keras.commands.beam",
        description="Reads the sources, checks them, writes records and vocabulary, under Apache Beam.",
        epilog=EXIT_CODES,
    )
    add_config_arguments(parser)
    parser.add_argument("--workdir", type=Path, required=True, metavar="DIR", help="everything is written below it")
    parser.add_argument("--runner", default=IN_PROCESS, help="in_process (default) or a runner of Beam")
    parser.add_argument("--check-only", action="store_true", help="check and report, write no records")
    parser.add_argument("--verify", action="store_true", help="read every photo and shard again")
    known, rest = parser.parse_known_args(arguments)
    further = [word for word in rest if word.startswith("-") or "=" not in word]
    known.overrides = [*known.overrides, *(word for word in rest if word not in further)]
    return run_command("beam", lambda: _run(known, further))


def _run(options, further):
    config = load_config(options.config, options.overrides)
    workdir = options.workdir.absolute()
    atomic_write(workdir / "config.yaml", dump_config(config))
    print_resolved(config, workdir / "config.yaml")
    settings = {"check_only": options.check_only, "verify": options.verify}
    print(f"data: {prepare_with_beam(config, workdir, options.runner, further, **settings)}")


if __name__ == "__main__":
    sys.exit(main())
