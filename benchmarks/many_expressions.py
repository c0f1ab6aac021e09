"""Times several expressions on one photo: the image encoded once against a full call for each.

Both ways run in turn in one process on the same random weights and inputs, at the paper's setting by default. Printed
are the medians with their spread, the time of one further expression as a share of a full call, and the largest
difference of the logits.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from lts_keras.models.variants import make_lts

SHARE_TARGET = 0.25
DIFFERENCE_TARGET = 1e-4


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=416, help="image side in pixels (default: %(default)s)")
    parser.add_argument("--expressions", type=int, default=8, help="on one photo (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="timed rounds (default: %(default)s)")
    parser.add_argument("--locator", choices=("filter", "transformer"), default="filter")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    args = parser.parse_args(argv)
    results = {"machine": describe_machine(args)} | race(args)
    for key, value in results.items():
        print(f"{key}: {value}")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    met = results["further_share"] <= SHARE_TARGET and results["difference"] <= DIFFERENCE_TARGET
    print(f"targets (share {SHARE_TARGET}, difference {DIFFERENCE_TARGET}): {'met' if met else 'missed'}")
    return 1 if args.check and not met else 0


def race(args):
    rng = np.random.default_rng(0)
    model = make_lts(locator=args.locator)
    image = tf.constant(rng.random((1, args.size, args.size, 3), "float32"))
    token_ids = tf.constant(rng.integers(1, 9000, (args.expressions, 15)).astype("int32"))
    index = tf.zeros(args.expressions, tf.int32)

    @tf.function(autograph=False)
    def full(token_ids):
        return model({"image": image, "token_ids": token_ids})

    @tf.function(autograph=False)
    def shared():
        return model.segment(model.encode_image(image), token_ids, image_index=index)

    ways = {"full_call": lambda: full(token_ids[:1]), "all_with_one_encoding": shared}
    together = shared()
    single = [full(token_ids[row : row + 1]) for row in range(args.expressions)]
    difference = max(
        float(np.abs(together[name][row] - single[row][name][0]).max())
        for name in ("mask", "prior")
        for row in range(args.expressions)
    )
    times = {name: [] for name in ways}
    for _ in range(args.repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()["mask"].numpy()
            times[name].append((time.perf_counter() - start) * 1e3)
    medians = {name: statistics.median(values) for name, values in times.items()}
    shares = [
        (every - once) / (args.expressions - 1) / once
        for once, every in zip(times["full_call"], times["all_with_one_encoding"], strict=True)
    ]
    further = (medians["all_with_one_encoding"] - medians["full_call"]) / (args.expressions - 1)
    return {
        "milliseconds": {
            name: {"median": round(medians[name], 1), "min": round(min(values), 1), "max": round(max(values), 1)}
            for name, values in times.items()
        },
        "further_expression_ms": round(further, 1),
        "further_share": round(further / medians["full_call"], 3),
        "further_share_by_round": [round(share, 3) for share in sorted(shares)],
        "difference": difference,
    }


def describe_machine(args):
    return {
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "tensorflow": importlib.metadata.version("tensorflow"),
        "keras": importlib.metadata.version("keras"),
        "precision": "float32",
        "batch": 1,
        "size": args.size,
        "expressions": args.expressions,
        "repeats": args.repeats,
        "locator": args.locator,
    }


if __name__ == "__main__":
    raise SystemExit(main())
