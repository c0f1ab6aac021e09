"""`python -m serving load-test`: how fast a server answers, and how many it can."""

import json
import ssl
import sys
from pathlib import Path

import grpc

from serving.client import NO_RETRIES
from serving.client.channel import is_local
from serving.client.photos import check_expressions, read_photo
from serving.commands.connection import add_connection_arguments, open_client, tls_of
from serving.errors import ServingError, UsageError
from serving.load.asking import GrpcAsker, Questions, RestAsker, draw_photo
from serving.load.plan import LoadPlan
from serving.load.report import summarize, to_text
from serving.load.run import run_plan

__all__ = ["add_arguments", "run"]

EXPRESSIONS = ("the red circle", "the left square", "the large blue shape on the right", "the green one")


def add_arguments(parser):
    """Adds the command's flags to an `argparse.ArgumentParser`."""
    add_connection_arguments(parser)
    parser.add_argument("--rest", action="store_true", help="ask over REST; --target is the HTTP address then")
    parser.add_argument("--clients", type=int, help="closed loop: clients that ask again when answered (default: 4)")
    parser.add_argument(
        "--rate", type=float, help="open loop: requests a second at random moments, however slow the answers are"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="time that is measured (default: 10)")
    parser.add_argument("--requests", type=int, help="end after so many (default: when the time is over)")
    parser.add_argument(
        "--warm_up_seconds", type=float, default=2.0, help="time of asking before it is measured (default: 2)"
    )
    parser.add_argument(
        "--image", type=Path, action="append", metavar="FILE", help="photo; may be given again (default: eight drawn)"
    )
    parser.add_argument(
        "--same_photos",
        action="store_true",
        help="send the same bytes again, which the server may have encoded already; else each photo is new to it",
    )
    parser.add_argument("--expression", action="append", metavar="TEXT", help="sentence; may be given again")
    parser.add_argument("--expressions_per_photo", type=int, default=1, help="sentences in a request (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments (default: 0)")
    parser.add_argument("--allow_remote", action="store_true", help="ask a server that is not on this machine")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="PNG file to draw")


def run(options):
    """Asks, prints what was found, and draws it.

    Args:
        options: namespace with the flags.

    Returns:
        dict, see `serving.load.report.summarize`.

    Raises:
        UsageError: for a wrong flag, file or photo, or a server elsewhere without `--allow_remote`.
        ServingError: if the first request is not answered, or none of the measured ones.
    """
    plan = _make_plan(options)
    if not is_local(options.target) and not options.allow_remote:
        raise UsageError(
            f"--target {options.target} is not on this machine; to load a server elsewhere say --allow_remote"
        )
    draw_report = _import_picture(options.picture)
    asker = _make_asker(options)
    try:
        asker.check()
        if sys.stderr.isatty():
            samples = run_plan(asker, plan, _tell)
            print(file=sys.stderr)
        else:
            samples = run_plan(asker, plan)
    finally:
        asker.close()
    transport = "REST" if options.rest else "gRPC"
    summary = {"target": options.target, "transport": transport, "model": options.model_name}
    summary |= {"expressions_per_photo": options.expressions_per_photo, **summarize(samples, plan)}
    print(json.dumps(summary) if options.json else to_text(summary))
    if not summary["answered"]:
        raise ServingError(grpc.StatusCode.UNAVAILABLE, f"{options.target}: no request was answered")
    if options.picture is not None:
        how = f"{plan.clients} clients" if plan.rate is None else f"{plan.rate:g} a second"
        draw_report(options.picture, samples, summary, f"{options.model_name} over {transport}, {how}")
        if not options.json:
            print(f"picture: {options.picture}")
    return summary


def _make_plan(options):
    if options.rate is not None and options.clients is not None:
        raise UsageError("give --clients (closed loop) or --rate (open loop), not both")
    # An open loop must not wait for answers: as many as may be.
    clients = options.clients if options.clients is not None else (4 if options.rate is None else 256)
    return LoadPlan(options.seconds, options.warm_up_seconds, options.requests, clients, options.rate, options.seed)


def _make_asker(options):
    if not 1 <= options.expressions_per_photo <= 1024:
        raise UsageError(f"--expressions_per_photo must be in 1..1024. Received: {options.expressions_per_photo}")
    photos = [read_photo(path)[0] for path in options.image or ()] or [draw_photo(seed) for seed in range(8)]
    expressions = check_expressions(options.expression or EXPRESSIONS)
    questions = Questions(photos, expressions, options.expressions_per_photo, new_photos=not options.same_photos)
    if not options.rest:
        return GrpcAsker(open_client(options, NO_RETRIES), questions)
    if options.tls_server_name:
        raise UsageError("--tls_server_name is for gRPC; over REST the name in --target counts")
    model = options.model_name
    if options.version is not None:
        model += f"/versions/{options.version}"
    elif options.version_label is not None:
        model += f"/labels/{options.version_label}"
    return RestAsker(options.target, model, questions, options.timeout, _ssl_context(options))


def _ssl_context(options):
    if not tls_of(options):
        return None
    try:
        context = ssl.create_default_context(cafile=options.tls_ca)
        if options.tls_certificate:
            context.load_cert_chain(options.tls_certificate, options.tls_key)
    except OSError as error:
        raise UsageError(f"cannot read the TLS files: {error.strerror or error}") from None
    return context


def _import_picture(path):
    """The function that draws, imported before the test runs rather than after it."""
    if path is None:
        return None
    if not path.parent.is_dir():
        raise UsageError(f"--picture {path}: there is no folder {path.parent}")
    try:
        from serving.load.picture import draw_report
    except ImportError:
        raise UsageError("--picture needs matplotlib: pip install lts-serving[load-test]") from None
    return draw_report


def _tell(seconds, answered):
    print(f"\r{seconds:6.0f} s, {answered} answered", end="", file=sys.stderr, flush=True)
