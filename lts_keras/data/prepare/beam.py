"""`prepare` under Apache Beam: each worker writes whole shards with the same code, so the bytes are the same.
`lts_keras.commands.beam` is the command. The default runner works in this process; it is slower than `lts prepare` and
there to try the way out. On a cluster every worker needs this package, and the data's root and the work directory at
the same paths (a shared file system).
"""

import json

from lts_keras.config.read import parse_config
from lts_keras.data.prepare.prepare import prepare
from lts_keras.data.prepare.write import write_shard
from lts_keras.data.sources import open_sources

try:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
except ImportError as error:  # pragma: no cover
    raise ImportError("lts_keras.data.prepare.beam needs the extra `beam`: pip install 'lts-keras[beam]'") from error

__all__ = ["IN_PROCESS", "prepare_with_beam"]

IN_PROCESS = "in_process"


class _WriteShard(beam.DoFn):
    """Writes a shard and its counts into the folder; gives nothing on, as the counts lie beside it."""

    def __init__(self, config_json, folder, data_dir):
        self._config_json, self._folder, self._data_dir = config_json, folder, data_dir

    def setup(self):
        # Each worker reads the annotations once; the plan itself came with the elements.
        data = parse_config(json.loads(self._config_json)).data
        self._sources = open_sources(data)

    def process(self, shard):
        write_shard(self._sources, shard, self._folder, self._data_dir)


def prepare_with_beam(config, workdir, runner=IN_PROCESS, options=(), **settings):
    """Like `lts_keras.data.prepare.prepare.prepare`, with the shards written by the workers of a runner.

    Args:
        config: `Config`; its `data.root` is the same path on every worker.
        workdir: work directory, the same path on every worker.
        runner: `"in_process"` or a name that Beam knows: `FlinkRunner`, `SparkRunner`, `DataflowRunner` ...
        options: further options of Beam, as on a command line.
        settings: `check_only`, `stop` and `verify` of `prepare`.

    Returns:
        `Path` of the data folder.

    Raises:
        DataError: as `prepare`.
    """

    def write_shards(plan, folder, data_dir):
        engine = FnApiRunner() if runner == IN_PROCESS else runner
        with beam.Pipeline(runner=engine, options=PipelineOptions(list(options))) as pipeline:
            _ = (
                pipeline
                | "shards" >> beam.Create(plan.shards)
                # Without it a runner may fuse everything into one worker.
                | "spread" >> beam.Reshuffle()
                | "write" >> beam.ParDo(_WriteShard(config.model_dump_json(), str(folder), str(data_dir)))
            )
        # All are written: this reads back what was counted.
        return (write_shard(plan.sources, shard, folder, data_dir) for shard in plan.shards)

    return prepare(config, workdir, write_shards=write_shards, **settings)
