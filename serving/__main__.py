"""`python -m serving`: parses, then calls. TensorFlow is imported by the command that needs it."""

import argparse
import logging
import os
import sys
from pathlib import Path

from lts_keras.commands.commandline import run_command

EXAMPLES = """examples:
  python -m serving server --port 8500 --model_name lts --model_base_path runs/mine/serving
  python -m serving predict --target localhost:8500 --image photo.jpg \\
                            --expression "the left dog" --expression "the red cup" --output overlay.png

The server takes the flags of tensorflow_model_server and answers in the same way.
exit codes: 0 done, 1 failed, 2 wrong use, data, port or folder
"""


def make_parser():
    """Returns the argument parser."""
    parser = argparse.ArgumentParser(
        prog="python -m serving",
        description="Serves an exported model over gRPC, and asks one.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    _add_server(commands.add_parser("server", help="serve the newest version in a folder, and each that follows"))
    _add_predict(commands.add_parser("predict", help="ask a server about one photo"))
    return parser


def _add_server(parser):
    parser.add_argument("--port", type=int, default=8500, help="gRPC port; 0 takes any free one (default: 8500)")
    parser.add_argument("--rest_api_port", type=int, default=0, help="HTTP port; 0 for none (default: 0)")
    parser.add_argument("--model_name", default="lts", help="name in requests (default: lts)")
    parser.add_argument("--model_base_path", type=Path, required=True, help="folder with a folder per version")
    parser.add_argument(
        "--file_system_poll_wait_seconds", type=float, default=1.0, help="time between looks for versions (default: 1)"
    )
    parser.add_argument("--enable_model_warmup", type=_bool, default=True, help="run recorded requests (default: true)")
    parser.add_argument(
        "--max_predictions", type=int, default=32, help="predictions at a time; more are refused (default: 32)"
    )
    parser.add_argument("--verbose", action="store_true", help="show the traceback of a failure")


def _add_predict(parser):
    parser.add_argument("--target", required=True, metavar="HOST:PORT", help="gRPC address of the server")
    parser.add_argument("--image", type=Path, required=True, help="JPEG or PNG file")
    parser.add_argument("--expression", action="append", required=True, help="what to look for; may be given again")
    parser.add_argument("--output", type=Path, default=Path("overlay.png"), help="PNG file (default: %(default)s)")
    parser.add_argument("--model_name", default="lts", help="name of the model (default: lts)")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds to wait (default: 60)")
    parser.add_argument("--verbose", action="store_true", help="show the traceback of a failure")


def _bool(text):
    if text.lower() not in ("true", "false", "1", "0"):
        raise argparse.ArgumentTypeError(f"expected true or false. Received: {text!r}")
    return text.lower() in ("true", "1")


def main(arguments=None):
    """Runs one command; returns the exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    options = make_parser().parse_args(arguments)
    run = {"server": _server, "predict": _predict}[options.command]
    return run_command(f"serving {options.command}", lambda: run(options), verbose=options.verbose)


def _server(options):
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname).1s %(message)s", stream=sys.stderr)
    from lts_keras.utils.quiet import import_tensorflow
    from serving.options import ServerOptions, check_port, make_settings

    server_options = ServerOptions(
        port=options.port,
        rest_port=options.rest_api_port or None,
        poll_seconds=options.file_system_poll_wait_seconds,
        enable_model_warmup=options.enable_model_warmup,
        max_predictions=options.max_predictions,
    )
    # What people get wrong is told at once, not after the seconds that TensorFlow takes.
    settings = make_settings({options.model_name: options.model_base_path})
    for port in (options.port, options.rest_api_port):
        check_port(server_options.host, port)
    import_tensorflow()
    from serving.server import serve

    serve(settings, server_options)


def _predict(options):
    from serving.commands.predict import predict

    predict(
        options.target,
        options.image,
        options.expression,
        options.output,
        model_name=options.model_name,
        timeout=options.timeout,
    )


if __name__ == "__main__":
    sys.exit(main())
