"""How often the 95 % interval of a paired comparison holds the true difference, over many drawn worlds.

A world is a set of photos with several sentences each. Photos are hard or easy for both models, and a little more so
for one of them; an answer finds its object or misses it; areas are log-normal, so that few objects decide
`overall_iou`. The true difference is that of a world of two million photos. Printed is the share of worlds whose
interval holds it, of `paired_difference` and, in the same worlds, of plain quantiles of the drawn differences, with
the mean width of both.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from lts_keras.evaluation.bootstrap import paired_difference

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
METRICS = ("mean_iou", "overall_iou", *(f"precision_at_{round(100 * one)}" for one in THRESHOLDS))
METRICS += ("localization_accuracy",)
LEAST, MOST = 0.93, 0.97
BETTER = 0.25
"""Log odds by which the second model finds more."""


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=500, help="(default: %(default)s)")
    parser.add_argument("--photos", type=int, nargs=2, default=(40, 300), help="fewest and most (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=1000, help="of the bootstrap (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a share is not within the target")
    args = parser.parse_args(argv)
    start = time.monotonic()
    ours, plain, width, plain_width = coverage(args.worlds, args.photos, args.samples, args.seed)
    print(f"machine: {platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}")
    print(f"{args.worlds} worlds of {args.photos[0]} to {args.photos[1]} photos: {time.monotonic() - start:.0f} s")
    for place, name in enumerate(METRICS):
        values = (ours[place], plain[place], width[place], plain_width[place])
        print("{:22} {:.3f}  quantiles {:.3f}  mean width {:.4f} and {:.4f}".format(name, *values))
    if args.json:
        content = {"ours": dict(zip(METRICS, ours, strict=True)), "quantiles": dict(zip(METRICS, plain, strict=True))}
        args.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    met = all(LEAST <= share <= MOST for share in ours)
    print(f"target (every share from {LEAST} to {MOST}): {'met' if met else 'missed'}")
    return 1 if args.check and not met else 0


def draw(rng, photos):
    """One world: dict of arrays, `photo` and `union` `(N,)`; `iou`, `union` and `hit` `(2, N)`, of two models."""
    sentences = np.minimum(1 + rng.geometric(0.25, photos), 20)
    photo = np.repeat(np.arange(photos), sentences)
    count = len(photo)
    ease = rng.normal(0, 1, photos)[photo] + rng.normal(0, 0.7, count)
    area = np.exp(rng.normal(9, 1, photos)[photo] + rng.normal(0, 0.8, count))
    world = {"photo": photo, "intersection": [], "union": [], "hit": []}
    for better in (0.0, BETTER):
        found = rng.random(count) < 1 / (1 + np.exp(-(better + ease + rng.normal(0, 0.7, photos)[photo])))
        iou = np.where(found, rng.beta(5, 1.5, count), rng.beta(0.2, 2, count))
        union = np.ceil(area * np.where(found, 1, 1 + rng.exponential(0.5, count)))
        world["union"].append(union)
        world["intersection"].append(np.floor(iou * union))
        world["hit"].append(found ^ (rng.random(count) < 0.15))
    return {name: np.array(values) for name, values in world.items()}


def true_differences(rng, photos=2_000_000, at_once=50_000):
    """Second model minus first for each of `METRICS`, of a world so large that chance plays no part."""
    above, below = np.zeros((len(METRICS), 2)), np.zeros((len(METRICS), 2))
    for _ in range(photos // at_once):
        world = draw(rng, at_once)
        iou = world["intersection"] / world["union"]
        values = [iou, world["intersection"], *(iou > threshold for threshold in THRESHOLDS), world["hit"]]
        above += [value.sum(1) for value in values]
        below += iou.shape[1]
        below[1] += world["union"].sum(1) - iou.shape[1]
    return np.diff(above / below, axis=1)[:, 0]


def rows(world, model):
    """Rows of an evaluation, as far as scores read them."""
    columns = (world["intersection"][model], world["union"][model], world["hit"][model])
    return [
        {
            "image_id": int(photo),
            "intersection": int(intersection),
            "union": int(union),
            "prior_hit": bool(hit),
            "has_target": True,
            "found": "right",
        }
        for photo, intersection, union, hit in zip(world["photo"], *columns, strict=True)
    ]


def coverage(worlds, photos, samples, seed, photos_of_truth=2_000_000):
    """Shares of worlds that hold the truth, and mean widths: ours, quantiles, width of ours, width of quantiles."""
    rng = np.random.default_rng(seed)
    truth = true_differences(rng, photos_of_truth)
    held, widths = np.zeros((2, len(METRICS))), np.zeros((2, len(METRICS)))
    for number in range(worlds):
        world = draw(rng, int(rng.integers(photos[0], photos[1] + 1)))
        found = paired_difference(rows(world, 0), rows(world, 1), samples, number)
        both = [[found[side][: len(METRICS)] for side in ("low", "high")], quantiles(world, samples, number)]
        for place, (low, high) in enumerate(both):
            held[place] += (low <= truth) & (truth <= high)
            widths[place] += high - low
    return *(held / worlds).tolist(), *(widths / worlds).tolist()


def quantiles(world, samples, seed):
    """The 2.5 % and 97.5 % quantiles of the drawn differences, what is most often taken for the interval."""
    photos = int(world["photo"].max()) + 1
    weights = np.random.default_rng(seed).multinomial(photos, np.full(photos, 1 / photos), samples)
    iou = world["intersection"] / world["union"]
    ones = np.ones_like(iou)
    pairs = [(iou, ones), (world["intersection"], world["union"])]
    pairs += [(iou > threshold, ones) for threshold in THRESHOLDS] + [(world["hit"], ones)]
    drawn = []
    for above, below in pairs:
        first, second = (
            weights @ np.bincount(world["photo"], above[model]) / (weights @ np.bincount(world["photo"], below[model]))
            for model in (0, 1)
        )
        drawn.append(second - first)
    return np.quantile(drawn, (0.025, 0.975), axis=1)


if __name__ == "__main__":
    raise SystemExit(main())
