"""`lts`: parses, then calls the library. TensorFlow is imported by the command that needs it."""

import argparse
import contextlib
import os
import sys
from pathlib import Path

from lts_keras.commands.commandline import EXIT_CODES, add_config_arguments, parse, run_command
from lts_keras.commands.compare import add_compare_arguments, compare_workdirs
from lts_keras.commands.cost import add_cost_arguments, show_cost
from lts_keras.commands.exported import judge_export
from lts_keras.commands.figure import add_figure_arguments, draw_figure
from lts_keras.commands.inspect_path import inspect_path
from lts_keras.commands.predict import check_question, predict_to_file, predict_with_onnx, predict_with_preset
from lts_keras.commands.refiner import add_feature_arguments, print_coarse, write_features_of
from lts_keras.commands.resolved import print_resolved
from lts_keras.commands.table import add_table_arguments, write_table
from lts_keras.config.errors import ConfigError
from lts_keras.config.read import dump_config, load_config, parse_config
from lts_keras.training.tf_config import read_tf_config
from lts_keras.utils.quiet import import_tensorflow
from lts_keras.utils.workdir import open_workdir

EXAMPLES = f"""examples:
  lts prepare  --config configs/quickstart.yaml --workdir runs/mine
  lts train    --config configs/quickstart.yaml --workdir runs/mine train.epochs=10
  lts evaluate --config configs/quickstart.yaml --workdir runs/mine
  lts predict  --preset runs/mine/train/preset --image photo.jpg --expression "the left dog" --output overlay.png
  lts compare  runs/before runs/mine
  lts table    runs/mine --output table.md
  lts inspect  yolov3.weights

{EXIT_CODES}
"""

SUBJECTS = ("model", "weights", "glove", "data")


def make_parser():
    """Returns the argument parser."""
    parser = argparse.ArgumentParser(
        prog="lts",
        description="Referring image segmentation: from photographs and expressions to a served model.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    prepare = _command(commands, "prepare", "read the sources, check them, write records and vocabulary")
    prepare.add_argument("--check-only", action="store_true", help="check and report, write no records")
    prepare.add_argument(
        "--verify", action="store_true", help="read every photo and shard, also those whose size and time are as before"
    )
    _command(commands, "train", "fit the model on the prepared data; goes on where it was interrupted")
    evaluate = _command(commands, "evaluate", "measure at the photos' original size, every expression")
    evaluate.add_argument(
        "--model", type=Path, metavar="PATH", help="judge an export (SavedModel folder or ONNX file), not the preset"
    )
    _command(commands, "export", "write the SavedModel, its ONNX twin and the model card")
    predict = _command(
        commands,
        "predict",
        "answer expressions on one photo, with --preset, with ONNX files or with what --config and --workdir trained",
        required=False,
    )
    predict.add_argument("--preset", type=Path, metavar="DIR", help="folder of a trained model; needs nothing else")
    predict.add_argument(
        "--model", type=Path, metavar="PATH", help="ONNX file or folder of an export; needs nothing else"
    )
    predict.add_argument("--image", type=Path, required=True, help="JPEG or PNG file")
    predict.add_argument(
        "--expression", action="append", required=True, help="what to look for; may be given several times"
    )
    predict.add_argument("--output", type=Path, default=Path("overlay.png"), help="PNG file (default: %(default)s)")
    _command(commands, "report", "write the page of the evaluation: scores, parts, curves, answers in pictures")
    text = "compare models on the same expressions: differences with intervals, photos that changed most"
    described = f"{text[0].upper()}{text[1:]}."
    add_compare_arguments(commands.add_parser("compare", help=text, description=described, epilog=EXIT_CODES))
    text = "put runs beside the paper's tables 1 to 7"
    described = f"{text[0].upper()}{text[1:]}."
    add_table_arguments(commands.add_parser("table", help=text, description=described, epilog=EXIT_CODES))
    text = "show parameters, operations, memory, steps and hours of a configuration"
    described = f"{text[0].upper()}{text[1:]}."
    add_cost_arguments(commands.add_parser("cost", help=text, description=described, epilog=EXIT_CODES))
    text = "draw the same photos under several models: prior, mask and truth, as pictures and as a page"
    described = f"{text[0].upper()}{text[1:]}."
    add_figure_arguments(commands.add_parser("figure", help=text, description=described, epilog=EXIT_CODES))
    text = "write a model's features and coarse masks for every sentence, for a refiner to be trained on"
    add_feature_arguments(_command(commands, "write-features", text))
    inspect = _command(
        commands,
        "inspect",
        "show what a file or folder holds: Darknet weights, GloVe vectors, a preset, a SavedModel, an ONNX or .keras "
        "file, prepared data; or, with --config and --workdir, the model (default), weights, glove or data of a "
        "configuration",
        required=False,
        usage="lts inspect PATH [imports=[...]]\n"
        f"       lts inspect [{{{','.join(SUBJECTS)}}}] --config FILE --workdir DIR [a.b=c ...]",
    )
    inspect.set_defaults(subject=None)
    return parser


def _command(commands, name, text, required=True, **settings):
    described = f"{text[0].upper()}{text[1:]}."
    command = commands.add_parser(name, help=text, description=described, epilog=EXIT_CODES, **settings)
    add_config_arguments(command, required=required)
    command.add_argument(
        "--workdir", type=Path, required=required, metavar="DIR", help="everything is written below it"
    )
    command.add_argument("--verbose", action="store_true", help="show the traceback of a failure")
    return command


def main(arguments=None):
    """Runs one command; returns the exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    options = parse(make_parser(), arguments)
    return run_command(f"lts {options.command}", lambda: _run(options), verbose=options.verbose)


def _run(options):
    if options.command == "compare":
        return compare_workdirs(options.workdirs, options.output, options.common)
    if options.command in _WITHOUT_WORKDIR:
        return _WITHOUT_WORKDIR[options.command](options)
    if options.command == "table":
        return write_table(options.workdirs, options.row, options.tables, options.output)
    if options.command == "predict":
        check_question(options)
    if options.command == "predict" and options.preset:
        return predict_with_preset(options)
    if options.command == "predict" and options.model:
        return predict_with_onnx(options)
    if options.command == "inspect" and _names_a_path(options):
        return inspect_path(options.subject, parse_config({}, options.overrides).imports)
    config = load_config(options.config, options.overrides)
    with _open(options, config) as workdir:
        print(f"# {options.command} in {workdir}")
        print_resolved(config, workdir / "config.yaml")
        import_tensorflow()
        _COMMANDS[options.command](config, workdir, options)


def _open(options, config):
    """The work directory, locked; on a further machine of a training it is the first one's, and stays as it is."""
    if options.command == "train" and os.environ.get("TF_CONFIG"):
        cluster = read_tf_config()
        if cluster.own != cluster.chief:
            return contextlib.nullcontext(options.workdir.absolute())
    return open_workdir(options.workdir, dump_config(config))


def _names_a_path(options):
    """Whether `lts inspect` was given a path; raises `ConfigError` for what is neither that nor the form by config."""
    if options.config and options.workdir and options.subject in (None, *SUBJECTS):
        options.subject = options.subject or "model"
        return False
    foreign = [override for override in options.overrides if not override.startswith("imports=")]
    if options.subject and not (options.config or options.workdir or foreign):
        return True
    given = " ".join(filter(None, [options.subject, options.config and "--config", options.workdir and "--workdir"]))
    raise ConfigError(
        "give the path of a file or folder alone (imports=[...] may follow), or --config and --workdir with one of "
        f"{', '.join(SUBJECTS)}. Received: {given or 'nothing'}"
    )


def _prepare(config, workdir, options):
    from lts_keras.data.prepare.prepare import prepare

    print(f"data: {prepare(config, workdir, check_only=options.check_only, verify=options.verify)}")


def _train(config, workdir, options):
    from lts_keras.training.train import train

    print(f"preset: {train(config, workdir)}")


def _evaluate(config, workdir, options):
    from lts_keras.evaluation.evaluate import evaluate, evaluation_folder
    from lts_keras.evaluation.printed import format_slices

    if options.model:
        return judge_export(config, workdir, options.model)
    metrics = evaluate(config, workdir)
    print(format_slices(metrics["slices"]))
    if config.model.refiner_channels:
        print_coarse(workdir, metrics)
    folder = evaluation_folder(workdir, config.evaluate.image_size, metrics["config"]["model"].get("image_size"))
    print(f"metrics: {folder / 'metrics.json'}")


def _export(config, workdir, options):
    from lts_keras.export import export

    export(config, workdir)
    print(f"export: {workdir / 'export'}")


def _predict(config, workdir, options):
    preset = workdir / "train" / "preset"
    predict_to_file(config, preset, options.image, options.expression, options.output, workdir)


def _report(config, workdir, options):
    from lts_keras.evaluation.report import write_report

    print(f"report: {write_report(config, workdir)}")


def _inspect(config, workdir, options):
    if options.subject == "data":
        from lts_keras.commands.inspect_data import inspect_data

        inspect_data(config, workdir)
    else:
        from lts_keras.commands import inspect_model

        getattr(inspect_model, f"inspect_{options.subject}")(config, workdir)


_COMMANDS = {
    "prepare": _prepare,
    "train": _train,
    "evaluate": _evaluate,
    "export": _export,
    "predict": _predict,
    "report": _report,
    "inspect": _inspect,
    "write-features": write_features_of,
}

_WITHOUT_WORKDIR = {"cost": show_cost, "figure": draw_figure}

if __name__ == "__main__":
    sys.exit(main())
