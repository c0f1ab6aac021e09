"""`prepare` under Apache Beam: each worker writes whole shards with the same code, so the bytes are the same.

    python -m lts_keras.data.beam --config C --workdir W [--runner FlinkRunner --flink_master=...] [a.b=c ...]

The default runner works in this process; it is slower than `lts prepare` and there to try the way out. On a cluster
every worker needs this package, and the data's root and the work directory at the same paths (a shared file system);
options that Beam knows are passed on to it.
"""

import argparse
import json
import sys
from pathlib import Path

from lts_keras.commandline import EXIT_CODES, add_config_arguments, run_command
from lts_keras.config import dump_config, load_config, parse_config
from lts_keras.data.prepare import prepare, write_shard
from lts_keras.data.sources import open_source

try:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
except ImportError as error:  # pragma: no cover
    raise ImportError("lts_keras.data.beam needs the extra `beam`: pip install 'lts-keras[beam]'") from error

__all__ = ["prepare_with_beam"]

IN_PROCESS = "in_process"


class _WriteShard(beam.DoFn):
    """Writes a shard and its counts into the folder; gives nothing on, as the counts lie beside it."""

    def __init__(self, config_json, folder):
        self._config_json, self._folder = config_json, folder

    def setup(self):
        # Each worker reads the annotations once; the plan itself came with the elements.
        data = parse_config(json.loads(self._config_json)).data
        self._sources = tuple(open_source(section, data.root) for section in data.sources)

    def process(self, shard):
        write_shard(self._sources, shard, self._folder)


def prepare_with_beam(config, workdir, runner=IN_PROCESS, options=(), **settings):
    """Like `lts_keras.data.prepare.prepare`, with the shards written by the workers of a runner.

    Args:
        config: `Config`; its `data.root` is the same path on every worker.
        workdir: work directory, the same path on every worker.
        runner: `"in_process"` or a name that Beam knows: `FlinkRunner`, `SparkRunner`, `DataflowRunner` ...
        options: further options of Beam, as on a command line.
        settings: `check_only` and `stop` of `prepare`.

    Returns:
        `Path` of the data folder.

    Raises:
        DataError: as `prepare`.
    """

    def write_shards(plan, folder):
        engine = FnApiRunner() if runner == IN_PROCESS else runner
        with beam.Pipeline(runner=engine, options=PipelineOptions(list(options))) as pipeline:
            _ = (
                pipeline
                | "shards" >> beam.Create(plan.shards)
                # Without it a runner may fuse everything into one worker.
                | "spread" >> beam.Reshuffle()
                | "write" >> beam.ParDo(_WriteShard(config.model_dump_json(), str(folder)))
            )
        # All are written: this reads back what was counted.
        return (write_shard(plan.sources, shard, folder) for shard in plan.shards)

    return prepare(config, workdir, write_shards=write_shards, **settings)


def main(arguments=None):
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m lts_keras.data.beam",
        description="Reads the sources, checks them, writes records and vocabulary, under Apache Beam.",
        epilog=EXIT_CODES,
    )
    add_config_arguments(parser)
    parser.add_argument("--workdir", type=Path, required=True, metavar="DIR", help="everything is written below it")
    parser.add_argument("--runner", default=IN_PROCESS, help="in_process (default) or a runner of Beam")
    parser.add_argument("--check-only", action="store_true", help="check and report, write no records")
    known, rest = parser.parse_known_args(arguments)
    further = [word for word in rest if word.startswith("-") or "=" not in word]
    known.overrides = [*known.overrides, *(word for word in rest if word not in further)]
    return run_command("beam", lambda: _run(known, further))


def _run(options, further):
    config = load_config(options.config, options.overrides)
    print(dump_config(config), flush=True)
    workdir = options.workdir.absolute()
    print(f"data: {prepare_with_beam(config, workdir, options.runner, further, check_only=options.check_only)}")


if __name__ == "__main__":
    sys.exit(main())
