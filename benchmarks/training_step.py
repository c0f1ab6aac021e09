"""Races a training step of LTS on Keras against the same step of an LTS in PyTorch.

A step is forward, losses, backward and Adam on a batch of noise that stays the same; the backbone is frozen but for its
last two convolutions. PyTorch takes one sentence a photo, in float32, in both of its memory layouts, of which the
better one counts. Ours also takes float32 and bfloat16, four sentences a photo (`per_image`), and the maps of a frozen
backbone that were computed before (`train.cache_features`). Shown and judged is the time per expression.

The programs run in processes of their own, in turn, for several rounds; only the ratio travels from one machine to
another. The PyTorch program (race.py) is no part of this project: --peers names its folder.
"""

import dataclasses
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from racing import (
    LAYOUTS,
    PRECISIONS,
    better,
    describe_machine,
    finish,
    make_parser,
    parse,
    ratios,
    say_ratio,
    set_threads,
    summarize,
    take_turns,
    time_calls,
)
from torch_environment import torch_python


@dataclasses.dataclass(frozen=True)
class Setting:
    """One step of ours, and the share of PyTorch's time per expression that it may take."""

    size: int
    batch: int
    precision: str
    target: float
    sentences: int = 1
    cached: bool = False

    @property
    def name(self):
        """What it is called in the results."""
        kind = f", {self.sentences} sentences a photo" if self.sentences > 1 else ""
        return f"keras, {self.size}, {self.precision}{kind}{', cached maps' if self.cached else ''}"


SETTINGS = (
    Setting(96, 8, "float32", 0.85),
    Setting(96, 8, "bfloat16", 0.55),
    Setting(416, 2, "float32", 0.75),
    Setting(416, 2, "bfloat16", 0.5),
    Setting(416, 2, "float32", 0.33, sentences=4),
    Setting(416, 2, "bfloat16", 0.2, sentences=4, cached=True),
)


def parse_arguments(argv=None):
    parser = make_parser(__doc__)
    sizes = sorted({setting.size for setting in SETTINGS})
    parser.add_argument("--sizes", type=int, choices=sizes, nargs="+", default=sizes, help="image sides (default: all)")
    parser.add_argument("--precision", choices=PRECISIONS, nargs="+", default=list(PRECISIONS), help="(default: both)")
    return parse(parser, argv)


def main(argv=None):
    args = parse_arguments(argv)
    if args.time_ours:
        print(json.dumps(time_ours(args)))
        return 0
    python = torch_python(args.torch_venv, args.peers)
    settings = [s for s in SETTINGS if s.size in args.sizes and s.precision in args.precision]
    results, missed = {"machine": describe_machine(args, python), "sizes": {}}, []
    for size in args.sizes:
        chosen = [setting for setting in settings if setting.size == size]
        if chosen:
            print(f"\n{size} x {size}, {chosen[0].batch} photos a step", flush=True)
            results["sizes"][size], late = race(args, python, chosen)
            missed += late
    return finish(args, results, missed)


def race(args, python, settings):
    """Runs PyTorch and all settings of one size in turn; returns times and ratios, and the targets that were missed."""
    common = ["--threads", args.threads, "--repeats", args.repeats, "--locator", args.locator]
    size, batch = settings[0].size, settings[0].batch
    programs = {
        f"pytorch, {size}, {layout}": [
            *(python, "race.py", "train", "--size", size, "--batch", batch, *common, *options)
        ]
        for layout, options in LAYOUTS.items()
    }
    theirs = list(programs)
    for setting in settings:
        programs[setting.name] = [sys.executable, Path(__file__).resolve(), "--time-ours", setting.name, *common]
    lines = take_turns(programs, args.rounds, args.peers)
    statistics = summarize(lines)
    best = better(theirs, statistics)
    result, missed = {"statistics": statistics, "better": best, "ratios": {}}, []
    for setting in settings:
        found = ratios(lines, statistics, setting.name, best, share=1 / setting.sentences)
        result["ratios"][setting.name] = found | {"target": setting.target}
        if not say_ratio(setting.name, best, found, setting.target):
            missed.append(f"{setting.name} above {setting.target}")
    return result, missed


def time_ours(args):
    """Times training steps of `LTS` in this process; returns what race.py gives for PyTorch."""
    import tensorflow as tf

    from lts_keras.models.variants import make_lts

    (setting,) = (setting for setting in SETTINGS if setting.name == args.time_ours)
    set_threads(args.threads)
    model = make_lts(
        locator=args.locator,
        trainable_backbone="none" if setting.cached else "last_two",
        dtype=PRECISIONS[setting.precision],
    )
    model.compile(weighted_metrics=None)  # PyTorch's step has no metrics
    inputs, targets = random_batch(setting)
    step = tf.function(lambda: model.train_step((inputs, targets)), autograph=False)
    return time_calls(lambda: step()["loss"].numpy(), args.repeats)


def random_batch(setting):
    """Photos, or maps as the feature cache holds them, and masks of noise, with full-length sentences."""
    import tensorflow as tf

    def noise(stride, channels, dtype="float32"):
        return tf.random.uniform((setting.batch, setting.size // stride, setting.size // stride, channels), dtype=dtype)

    lead = (setting.batch, setting.sentences) if setting.sentences > 1 else (setting.batch,)
    inputs = {"token_ids": tf.random.uniform((*lead, 15), 2, 9000, tf.int32)}
    if setting.cached:
        strides = {"c3": (8, 256), "c4": (16, 512), "c5": (32, 1024)}
        inputs |= {name: noise(*shape, dtype="float16") for name, shape in strides.items()}
    else:
        inputs["image"] = noise(1, 3)
    targets = {}
    for name, stride in (("mask", 4), ("prior", 8)):
        side = setting.size // stride
        targets[name] = tf.cast(tf.random.uniform((*lead, side, side, 1)) > 0.5, tf.float32)
    return inputs, targets


if __name__ == "__main__":
    sys.exit(main())
