"""Trains the rows of the paper's ablations (tables 2, 4, 5, 6 and 7) on drawn scenes, and prints them beside its own.

Every run has the same scenes, the same frozen backbone, which this program trains first, and the same number of steps.
A run is a work directory of `lts train` and `lts evaluate`; killed anywhere and started again, the program goes on with
what is missing. At the end it prints short tables of mean IoU and writes those of `lts table` to tables.md.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from ablation_rows import PAPER_SIZES, ROWS, print_tables

CONFIG = Path(__file__).resolve().parent.parent / "configs" / "ablations.yaml"
_BACKBONE_SEED = 1000
"""Added to the seed of the scenes for those that the backbone is trained on."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One row with one seed."""

    row: str
    seed: int
    workdir: Path

    @property
    def folder(self):
        """Work directory of the run."""
        return self.workdir / f"{self.row}-{self.seed}"

    def metrics_files(self):
        """The metrics.json that it ends with, by the size that the photos are judged at; `None`: the one trained at."""
        evaluate = self.folder / "evaluate"
        return {None: evaluate / "metrics.json"} | {
            size: evaluate / f"at_{size}" / "metrics.json" for size in ROWS[self.row].judged_at
        }

    def commands(self, config, changes):
        """The commands of `lts` that are still to be run."""
        common = ["--config", str(config), "--workdir", str(self.folder)]
        changes = [*changes, *ROWS[self.row].changes, f"seed={self.seed}"]
        train = [["train", *common, *changes]]
        judge = [
            ["evaluate", *common, *changes, *([f"evaluate.image_size={size}"] if size else [])]
            for size, file in self.metrics_files().items()
            if not file.is_file()
        ]
        return train + judge if judge else []


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True, help="folder of the data, the backbone and all runs")
    parser.add_argument(
        "--rows", nargs="+", choices=list(ROWS), default=list(ROWS), metavar="NAME", help=", ".join(ROWS)
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="(default: 0 1 2)")
    parser.add_argument("--steps", type=int, help="of every run, rounded up to whole epochs (default: the config's)")
    parser.add_argument("--minutes", type=float, help="processor minutes after which a run ends, behind a whole epoch")
    parser.add_argument("--backbone-steps", type=int, default=2000, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of each run (default: %(default)s)")
    parser.add_argument("--config", type=Path, default=CONFIG, help="(default: configs/ablations.yaml)")
    parser.add_argument("--tables-only", action="store_true", help="print what is there and run nothing")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if any(value is not None and value <= 0 for value in (args.steps, args.minutes, args.backbone_steps)):
        parser.error("--steps, --minutes and --backbone-steps must be above 0")
    return args


def main(argv=None):
    args = parse_arguments(argv)
    if args.child:
        return run_commands(json.loads(args.child))
    if not args.tables_only:
        workdir = args.workdir.resolve()
        changes = settle(args, workdir)
        # Seed by seed, so that the tables are whole early and their spread comes later.
        for run in [Run(row, seed, workdir) for seed in args.seeds for row in args.rows]:
            commands = run.commands(args.config, changes)
            if not commands:
                continue
            print(f"\n{run.row}, seed {run.seed}", flush=True)
            if code := start(commands, args.threads):
                print(f"{run.row}, seed {run.seed}: ended with {code}", file=sys.stderr)
                return code
    write_tables(args.workdir)
    return 0


def settle(args, workdir):
    """Makes data and backbone where they are missing; returns the changes that all runs have in common."""
    from lts_keras.config.read import load_config

    workdir.mkdir(parents=True, exist_ok=True)
    backbone = workdir / "backbone.keras"
    changes = [f"weights.backbone={backbone}"]
    config = load_config(args.config, changes)
    source = config.data.sources[0]
    per_epoch = -(-source.num_photos["train"] // config.train.batch_size)
    epochs = -(-args.steps // per_epoch) if args.steps else config.train.epochs
    check_settings(workdir, {"epochs": epochs, "minutes": args.minutes, "backbone_steps": args.backbone_steps})
    changes.append(f"train.epochs={epochs}")
    if args.minutes:
        changes.append(f"train.max_minutes={args.minutes}")
    print(f"{epochs} epochs of {per_epoch} steps for every row", flush=True)
    if not backbone.is_file():
        import tensorflow as tf
        from ablation_backbone import train_backbone

        tf.config.threading.set_intra_op_parallelism_threads(args.threads)
        seed = source.seed + _BACKBONE_SEED
        train_backbone(source.model_copy(update={"seed": seed}), backbone, steps=args.backbone_steps)
    if code := start([["prepare", "--config", str(args.config), "--workdir", str(workdir), *changes]], args.threads):
        sys.exit(code)
    return [*changes, f"data.prepared={workdir}"]


def check_settings(workdir, settings):
    """Keeps runs of different lengths out of one folder: their rows could not be compared."""
    file = workdir / "settings.json"
    if file.is_file() and (found := json.loads(file.read_text())) != settings:
        sys.exit(f"{file}: its runs have {found}; take another --workdir for {settings}")
    file.write_text(json.dumps(settings))


def start(commands, threads):
    """Runs commands of `lts` one after the other in a process of their own; returns its exit code."""
    limits = {name: str(threads) for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")}
    arguments = [sys.executable, str(Path(__file__).resolve()), "--workdir", ".", "--child", json.dumps(commands)]
    return subprocess.run(arguments, env=os.environ | limits, check=False).returncode


def run_commands(commands):
    """Runs commands of `lts` in this process until one fails."""
    from lts_keras.commands.cli import main as lts

    for command in commands:
        if code := lts(command):
            return code
    return 0


def write_tables(workdir):
    """Prints the short tables and writes those of `lts table` to tables.md."""
    from lts_keras.commands.table import write_table

    found = collect(workdir)
    print_tables(found)
    given, named = [], []
    for row, sizes in found.items():
        for size, seeds in sizes.items():
            for seed in seeds:
                folder = workdir / f"{row}-{seed}" / ("evaluate" if size is None else f"evaluate/at_{size}")
                name = ROWS[row].paper_row if size is None else PAPER_SIZES[size]
                if name:
                    named.append(f"{name}={folder}")
                else:
                    given.append(folder)
    if found:
        write_table(given, named, "2,4,5,6,7", workdir / "tables.md")


def collect(workdir):
    """Metrics of all runs that are there: row -> size judged at or `None` -> seed -> metrics.json's contents."""
    found = {}
    for row in ROWS:
        for folder in sorted(Path(workdir).glob(f"{row}-[0-9]*")):
            run = Run(row, int(folder.name.rpartition("-")[2]), Path(workdir))
            for size, file in run.metrics_files().items():
                if file.is_file():
                    found.setdefault(row, {}).setdefault(size, {})[run.seed] = json.loads(file.read_text())
    return found


if __name__ == "__main__":
    sys.exit(main())
