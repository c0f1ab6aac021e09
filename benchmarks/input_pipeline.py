"""Races the input pipeline against a PyTorch DataLoader: expressions per second, from files to batches.

    LTS_TEST_DATA=folder python benchmarks/input_pipeline.py      # with data/ (photographs) and peers/ (loader.py)

Both give batches of decoded, letterboxed photos at 416, token ids and targets, shuffled, of the same photos and
expressions (the train split of coco/), to a consumer that drops them. The DataLoader (loader.py, no part of this
project, see --peers) runs in worker processes, as many as the pipeline here has threads; its own main process comes on
top. All programs stay up and take turns, one whole epoch each, for several rounds: only ratios travel from machine to
machine. Before the first round each one runs one epoch untimed.

The DataLoader decodes a photo anew for every expression. Here `per_expression` gives the same samples, but decodes a
photo once an epoch for all of its expressions, and `per_image` hands out the photo once with up to K of them.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from torch_environment import torch_python

ROOT = Path(__file__).resolve().parent.parent
TARGETS = {"per_image": 2.5, "per_expression": 1.3}
MODES = ("per_image", "per_expression", "per_ref")
PEER = "pytorch"

# Runs in the other environment: one epoch for each line on its standard input, its seconds as JSON on the output.
PEER_PROGRAM = """
import os, sys, json, time
os.environ["OMP_WAIT_POLICY"] = "passive"
sys.path.insert(0, sys.argv[1])
import cv2
import torch
from loader import ReferringDataset, build_vocabulary, make_loader, read_referents
torch.set_num_threads(1)
data, size, batch, workers, seed = sys.argv[2], *map(int, sys.argv[3:])
torch.manual_seed(seed)
referents = read_referents(data, "coco", "train")
vocabulary = build_vocabulary(text for referent in referents for text in referent.expressions)
dataset = ReferringDataset(referents, vocabulary, size, 15, "per_expression")
loader = make_loader(dataset, batch, shuffle=True, num_workers=workers)
print(json.dumps({"torch": torch.__version__, "opencv": cv2.__version__}), flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    count = sum(len(batch["image"]) for batch in loader)
    print(json.dumps({"seconds": time.perf_counter() - start, "expressions": count}), flush=True)
"""


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = os.environ.get("LTS_TEST_DATA")
    folder = Path(shared) if shared else None
    parser.add_argument("--data", type=Path, default=folder and folder / "data", help="default: $LTS_TEST_DATA/data")
    parser.add_argument("--peers", type=Path, default=folder and folder / "peers", help="default: $LTS_TEST_DATA/peers")
    parser.add_argument(
        "--torch-venv",
        type=Path,
        default=ROOT / ".venv-torch",
        help="environment with PyTorch, made if it is not there (default: .venv-torch in the checkout)",
    )
    parser.add_argument("--rounds", type=int, default=5, help="timed epochs of each (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes there, threads here (default: %(default)s)")
    parser.add_argument("--size", type=int, default=416, help="side of the square (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=18, help="expressions, or photos (default: %(default)s)")
    parser.add_argument("--per-image", type=int, default=8, help="K of per_image (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    args = parser.parse_args(argv)
    if not args.data or not (args.data / "coco/templated_refs.json").is_file():
        parser.error(f"--data must name the folder with coco/. Received: {args.data}")
    if not args.peers or not (args.peers / "loader.py").is_file():
        parser.error(f"--peers must name the folder with loader.py. Received: {args.peers}")
    return args


def make_datasets(args, workdir):
    """Prepares the records and returns `{mode: dataset}`."""
    from lts_keras.config.read import parse_config
    from lts_keras.data.input.training_dataset import training_dataset
    from lts_keras.data.prepare.prepare import prepare
    from lts_keras.data.text import Tokenizer, read_vocabulary

    coco = {"instances": "coco/instances.json", "photos": "coco/images", "refs": "coco/templated_refs.json"}
    source = {"kind": "coco", "name": "coco", **coco}
    data_dir = prepare(parse_config({"data": {"root": str(args.data), "sources": [source]}}), workdir)
    tokenizer = Tokenizer(read_vocabulary(data_dir / "vocabulary.txt"), 15)
    return {
        mode: training_dataset(
            data_dir,
            tokenizer,
            image_size=args.size,
            batch_size=args.batch,
            sampling=mode,
            expressions_per_image=args.per_image,
            num_workers=args.workers,
        )
        for mode in MODES
    }


def time_epoch(dataset):
    """Seconds and expressions of one epoch; those that only fill a row of `per_image` do not count."""
    start, weights = time.perf_counter(), []
    for _, _, weight in dataset:
        weights.append(weight["prior"])
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "expressions": int(sum(weight.numpy().sum() for weight in weights))}


def race(args):
    """Returns `{program: [expressions per second of each round]}` and the versions of the PyTorch environment."""
    python = torch_python(args.torch_venv, args.peers)
    command = [python, "-c", PEER_PROGRAM, args.peers, args.data, args.size, args.batch, args.workers, 0]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with tempfile.TemporaryDirectory() as workdir, subprocess.Popen([str(part) for part in command], **pipes) as peer:

        def time_peer():
            print("go", file=peer.stdin, flush=True)
            return json.loads(peer.stdout.readline())

        versions = json.loads(peer.stdout.readline())
        runs = {PEER: time_peer}
        for mode, dataset in make_datasets(args, workdir).items():
            runs[mode] = lambda dataset=dataset: time_epoch(dataset)
        speeds = {name: [] for name in runs}
        for number in range(args.rounds + 1):
            for name, run in runs.items():
                result = run()
                if number:
                    speeds[name].append(result["expressions"] / result["seconds"])
            print(f"round {number} of {args.rounds}{'' if number else ' (untimed)'}", flush=True)
        peer.stdin.close()
    return speeds, versions


def describe_machine():
    """Processor, cores and load in a line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{model or platform.machine()}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}"


def report(args, speeds, peer_versions):
    """Prints the table and returns its values."""
    ours = {name: importlib.metadata.version(name) for name in ("tensorflow", "tensorflow-text", "numpy")}
    versions = {"python": platform.python_version(), **ours, **peer_versions}
    print(f"machine: {describe_machine()}")
    print(f"versions: {', '.join(f'{name} {value}' for name, value in versions.items())}")
    print(
        f"setting: {args.size} x {args.size} float32, batch {args.batch} (photos with per_image, K {args.per_image}), "
        f"{args.workers} worker processes there, {args.workers} threads here, {args.rounds} rounds"
    )
    print(f"{'':16}{'median':>10}{'min':>10}{'max':>10}   expressions a second; ratio of medians, of each round")
    rows = {}
    for name, values in speeds.items():
        ratios = [value / peer for value, peer in zip(values, speeds[PEER], strict=True)]
        middle = statistics.median(values)
        rows[name] = {"median": middle, "min": min(values), "max": max(values), "ratios": ratios}
        rows[name]["ratio"] = middle / statistics.median(speeds[PEER])
        line = f"{name:16}{middle:10.1f}{min(values):10.1f}{max(values):10.1f}   {rows[name]['ratio']:.2f}"
        target = f", target {TARGETS[name]}" if name in TARGETS else ""
        print(line + f" ({min(ratios):.2f} to {max(ratios):.2f}{target})")
    return {"versions": versions, "rows": rows, "workers": args.workers, "size": args.size, "batch": args.batch}


def main(argv=None):
    args = parse_arguments(argv)
    result = report(args, *race(args))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))
    missed = [name for name, target in TARGETS.items() if result["rows"][name]["ratio"] < target]
    if args.check and missed:
        print(f"target missed: {', '.join(missed)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
