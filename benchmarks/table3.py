"""Table 3 on drawn scenes: a weaker model's coarse masks, without and with the segmentation module as their refiner.

The paper puts its segmentation module on CMPC. Here a model of this repository that locates and does not segment stands
for it: it is trained, writes its features and coarse masks, and a refiner is trained on these. Each step is an `lts`
command, printed before it runs and safe to repeat, so that a run that was cut off goes on.
"""

import argparse
import json
import os
import shlex
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from lts_keras.commands import cli

PAPER = {
    "CMPC": {"val": 61.36, "testA": 64.53, "testB": 59.64},
    "CMPC + segmentation module": {"val": 62.75, "testA": 65.34, "testB": 61.08},
}
"""Table 3, RefCOCO, "IoU" as the paper names it."""
METRICS = ("mean_iou", "overall_iou")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, default=Path("runs/table3"), help="default: %(default)s")
    parser.add_argument("--weak", default="configs/scenes_weak.yaml", help="of the other model (default: %(default)s)")
    parser.add_argument("--refiner", default="configs/scenes_refiner.yaml", help="default: %(default)s")
    args = parser.parse_args(argv)
    used = {}
    for words in steps(args.workdir, args.weak, args.refiner):
        print(f"$ lts {shlex.join(words)}", flush=True)
        before = time.process_time()
        code = cli.main(words)
        if code:
            return code
        used[shlex.join(words)] = (time.process_time() - before) / 60
    for step, minutes in used.items():
        print(f"{minutes:5.1f} processor minutes: lts {step}")
    print(table(read(args.workdir / "refiner/evaluate/coarse"), read(args.workdir / "refiner/evaluate")))
    return 0


def steps(workdir, weak, refiner):
    """The commands, as lists of words."""
    on_weak = ["--config", weak, "--workdir", f"{workdir}/weak"]
    on_refiner = ["--config", refiner, "--workdir", f"{workdir}/refiner"]
    on_refiner += [f"data.prepared={workdir}/weak", f"data.features={workdir}/features"]
    return [
        ["prepare", *on_weak],
        ["train", *on_weak],
        ["evaluate", *on_weak],
        ["write-features", *on_weak, "--output", f"{workdir}/features"],
        ["train", *on_refiner],
        ["evaluate", *on_refiner],
    ]


def read(folder):
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["slices"]


def table(without, refined):
    """The paper's rows and ours, as a Markdown table in percent.

    Args:
        without, refined: dicts, `slices` of metrics.json of the coarse masks and of the refiner.
    """
    splits = [name.partition("/")[2] for name in refined]
    columns = list(PAPER["CMPC"]) if set(splits) <= set(PAPER["CMPC"]) else splits
    lines = [("", "metric", *columns), ("---",) * (2 + len(columns))]
    rows = list(PAPER.items())
    difference = {split: round(rows[1][1][split] - rows[0][1][split], 2) for split in rows[0][1]}
    for title, values in (*rows, ("difference", difference)):
        lines.append((f"paper: {title}", "IoU", *(f"{values[one]:.2f}" if one in values else "" for one in columns)))
    for metric in METRICS:
        ours = {"weaker model": without, "weaker model + segmentation module": refined}
        found = {title: {split: _value(slices, split, metric) for split in columns} for title, slices in ours.items()}
        one, other = found.values()
        found["difference"] = {
            split: None if None in (one[split], other[split]) else other[split] - one[split] for split in columns
        }
        for title, values in found.items():
            cells = ("" if values[split] is None else f"{100 * values[split]:.2f}" for split in columns)
            lines.append((f"ours, drawn scenes: {title}", metric, *cells))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _value(slices, split, metric):
    return next((one[metric]["value"] for name, one in slices.items() if name.partition("/")[2] == split), None)


if __name__ == "__main__":
    raise SystemExit(main())
