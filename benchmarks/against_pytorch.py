"""Races LTS on Keras against an LTS in PyTorch, and compares their numbers with the same weights.

Speed: both programs run a full forward pass at 416 x 416, batch 1, in float32 and in bfloat16, in processes of their
own, in turn, for several rounds; PyTorch in both of its memory layouts, of which the better one counts, and in
bfloat16 by its own autocast. Only the ratio travels from one machine to another. Numbers: the PyTorch program makes
weights and inputs, both compute, the largest difference counts.

The PyTorch program (race.py, compare.py) is no part of this project: --peers names its folder.
"""

import json
import sys
from pathlib import Path

from peer_numbers import DIFFERENCE_TARGET, compare
from racing import (
    LAYOUTS,
    PRECISIONS,
    better,
    describe_machine,
    finish,
    make_parser,
    parse,
    ratios,
    run,
    say_ratio,
    set_threads,
    summarize,
    take_turns,
    time_calls,
)
from torch_environment import torch_python

RATIO_TARGETS = {"float32": {"float32": 0.75}, "bfloat16": {"float32": 0.47, "bfloat16": 1.0}}
"""Ours in a precision, PyTorch's better layout in a precision: the largest share that its time may have."""
CONSTANTS = "keras, float32, weights as constants"


def parse_arguments(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--only", choices=("speed", "numbers"), help="one of the two parts")
    parser.add_argument("--size", type=int, default=416, help="image side in pixels (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=3, help="of the comparison of numbers (default: %(default)s)")
    parser.add_argument(
        "--precision", choices=PRECISIONS, nargs="+", default=list(PRECISIONS), help="of the race (default: both)"
    )
    parser.add_argument("--constants", action="store_true", help="also time the model with its weights as constants")
    return parse(parser, argv)


def main(argv=None):
    args = parse_arguments(argv)
    if args.time_ours:
        print(json.dumps(time_ours(args)))
        return 0
    python = torch_python(args.torch_venv, args.peers)
    size = f"{args.size} x {args.size}, batch 1, {', '.join(args.precision)}"
    results, missed = {"machine": describe_machine(args, python, forward=size)}, []
    if args.only != "numbers":
        results["speed"], missed = race(args, python)
    if args.only != "speed":
        results["numbers"] = compare(args, lambda *rest: run([python, "compare.py", *rest], args.peers))
        if max(results["numbers"].values()) > DIFFERENCE_TARGET:
            missed.append(f"a difference above {DIFFERENCE_TARGET}")
    return finish(args, results, missed)


def race(args, python):
    """Runs all programs in turn, prints their times and the ratios; returns them and the targets that were missed."""
    common = ["--size", args.size, "--threads", args.threads, "--repeats", args.repeats, "--locator", args.locator]
    scripts = {"float32": "race.py", "bfloat16": Path(__file__).resolve().parent / "torch_bfloat16.py"}
    programs = {}
    for precision in args.precision:
        # The targets of bfloat16 ask for PyTorch's float32 too.
        for theirs in RATIO_TARGETS[precision]:
            for layout, options in LAYOUTS.items():
                command = [python, scripts[theirs], "forward", "--batch", 1, *common, *options]
                programs[f"pytorch, {theirs}, {layout}"] = command
    ours = [f"keras, {precision}" for precision in args.precision] + ([CONSTANTS] if args.constants else [])
    for name in ours:
        programs[name] = [sys.executable, Path(__file__).resolve(), "--time-ours", name, *common]
    lines = take_turns(programs, args.rounds, args.peers)
    statistics = summarize(lines)
    result, missed = {"statistics": statistics, "ratios": {}}, []
    for precision in args.precision:
        for theirs, target in RATIO_TARGETS[precision].items():
            mine, best = f"keras, {precision}", better([f"pytorch, {theirs}, {name}" for name in LAYOUTS], statistics)
            found = ratios(lines, statistics, mine, best)
            result["ratios"][f"{mine} to {best}"] = found | {"target": target}
            if not say_ratio(mine, best, found, target):
                missed.append(f"{mine} to {best} above {target}")
    return result, missed


def time_ours(args):
    """Times full forward passes of `LTS` in this process; returns what race.py gives for PyTorch."""
    import keras
    import tensorflow as tf

    from lts_keras.models.variants import make_lts

    set_threads(args.threads)
    model = make_lts(locator=args.locator, dtype=PRECISIONS[args.time_ours.split(", ")[1]])
    values = [(variable, variable.numpy()) for variable in model.variables]

    def forward(image, token_ids):
        inputs = {"image": image, "token_ids": token_ids}
        if args.time_ours != CONSTANTS:
            return model(inputs, training=False)
        with keras.StatelessScope(state_mapping=[(variable, tf.constant(value)) for variable, value in values]):
            return model(inputs, training=False)

    # As in the served graph: the size is known, the number of rows is not.
    signature = [tf.TensorSpec((None, args.size, args.size, 3)), tf.TensorSpec((None, 15), tf.int32)]
    forward = tf.function(forward, input_signature=signature, autograph=False)
    image = tf.random.uniform((1, args.size, args.size, 3))
    token_ids = tf.random.uniform((1, 15), 2, 9000, tf.int32)
    return time_calls(lambda: forward(image, token_ids)["mask"].numpy(), args.repeats)


if __name__ == "__main__":
    sys.exit(main())
