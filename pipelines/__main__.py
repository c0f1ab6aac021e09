"""`python -m pipelines`: run, compile, rollback, quickstart."""

import argparse
import sys
from pathlib import Path

from lts_keras.commands.commandline import add_config_arguments, parse, run_command
from lts_keras.commands.resolved import print_resolved
from lts_keras.config.errors import ConfigError
from lts_keras.config.read import load_config

EXAMPLES = """examples:
  python -m pipelines run --config configs/quickstart.yaml --workdir runs/mine train.epochs=20
  python -m pipelines compile --config configs/refcoco.yaml --output pipeline.yaml --image registry/lts:1
  python -m pipelines rollback --serving-dir runs/mine/serving

exit codes: 0 done; 1 failed or not blessed, and what is served is untouched; 2 wrong use, data or configuration
"""


def make_parser():
    """Returns the argument parser."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines",
        description="From photographs and expressions to a served model: ingest, validate_data, train, evaluate,\n"
        "bless, export, infra_validate, push, register.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--verbose", action="store_true", help="show the traceback of a failure")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    run = commands.add_parser("run", help="run the whole pipeline here; finished stages are passed over")
    add_config_arguments(run)
    run.add_argument("--workdir", type=Path, required=True, help="folder of this pipeline's data, model and reports")
    run.add_argument("--serving-dir", type=Path, help="folder that a server watches (default: WORKDIR/serving)")

    compile_ = commands.add_parser("compile", help="write the same pipeline for a cluster, as kfp's IR YAML")
    add_config_arguments(compile_)
    compile_.add_argument("--output", type=Path, required=True, help="path of the YAML file")
    compile_.add_argument("--image", default="lts-keras:latest", help="container image with this checkout installed")
    compile_.add_argument("--workdir", default="/mnt/lts/work", help="default of the parameter (default: %(default)s)")
    compile_.add_argument("--serving-dir", default="/mnt/lts/serving", help="likewise (default: %(default)s)")
    compile_.add_argument("--volume", metavar="CLAIM:PATH", help="persistent volume claim that every step mounts")

    rollback = commands.add_parser("rollback", help="publish an older version again, as the newest")
    rollback.add_argument("--serving-dir", type=Path, required=True, help="folder that a server watches")
    rollback.add_argument("--to", type=int, metavar="VERSION", help="default: the one before what is served")

    quickstart = commands.add_parser("quickstart", help="the pipeline on drawn scenes, then one gRPC prediction")
    add_config_arguments(quickstart, default=Path("configs/quickstart.yaml"))
    quickstart.add_argument("--workdir", type=Path, default=Path("runs/quickstart"), help="default: %(default)s")
    return parser


def main(arguments=None):
    """Runs one command; returns the exit code."""
    options = parse(make_parser(), arguments)
    function = {"run": _run, "compile": _compile, "rollback": _rollback, "quickstart": _quickstart}[options.command]
    return run_command(f"pipelines {options.command}", lambda: function(options), verbose=options.verbose)


def _run(options):
    from lts_keras.evaluation.printed import format_slices
    from pipelines.runner import run_pipeline

    result = run_pipeline(load_config(options.config, options.overrides), options.workdir, options.serving_dir)
    print(f"\n{format_slices(result['metrics'])}\n\nreport  {result['report']}\nserved  {result['path']}")


def _compile(options):
    from kfp import compiler

    from pipelines.pipeline import make_pipeline

    config = load_config(options.config, options.overrides)
    claim, colon, path = (options.volume or "").partition(":")
    if options.volume and not (claim and colon and path.startswith("/")):
        raise ConfigError(f"--volume has the form claim:/path. Received: {options.volume}")
    compiler.Compiler().compile(
        make_pipeline(options.image, (claim, path) if options.volume else None),
        str(options.output),
        pipeline_parameters={
            # One line: kfp copies defaults into a comment of the file.
            "config": config.model_dump_json(),
            "workdir": options.workdir,
            "serving_dir": options.serving_dir,
        },
    )
    print_resolved(config, f"the parameter config of {options.output}")
    print(f"{options.output}: pipeline lts, image {options.image}")


def _rollback(options):
    from pipelines.versions import rollback

    new, of = rollback(options.serving_dir, options.to)
    print(f"version {new} published: the files of version {of}, in {options.serving_dir / str(new)}")


def _quickstart(options):
    from pipelines.quickstart import run_quickstart

    run_quickstart(load_config(options.config, options.overrides), options.workdir)


if __name__ == "__main__":
    sys.exit(main())
