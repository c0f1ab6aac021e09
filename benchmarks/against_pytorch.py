"""Races LTS on Keras against an LTS in PyTorch, and compares their numbers with the same weights.

Speed: both programs run a full forward pass at 416 x 416, batch 1, float32, in processes of their own, in turn, for
several rounds; PyTorch in both of its memory layouts, of which the better one counts. Only the ratio travels from one
machine to another. Numbers: the PyTorch program makes weights and inputs, both compute, the largest difference counts.

The PyTorch program (race.py, compare.py) is no part of this project: --peers names its folder.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
from peer_numbers import DIFFERENCE_TARGET, compare
from torch_environment import torch_python

ROOT = Path(__file__).resolve().parent.parent
LAYOUTS = {"pytorch, channels first": (), "pytorch, channels last": ("--channels-last",)}
OURS = "keras"
CONSTANTS = "keras, weights as constants"
RATIO_TARGET = 0.85


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("LTS_TEST_DATA")
    parser.add_argument(
        "--peers",
        type=Path,
        default=Path(data) / "peers" if data else None,
        help="folder of the PyTorch program (default: $LTS_TEST_DATA/peers)",
    )
    parser.add_argument(
        "--torch-venv",
        type=Path,
        default=ROOT / ".venv-torch",
        help="environment with PyTorch, made if it is not there (default: .venv-torch in the checkout)",
    )
    parser.add_argument("--only", choices=("speed", "numbers"), help="one of the two parts")
    parser.add_argument("--rounds", type=int, default=5, help="processes of each program (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls of each process (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of each program (default: %(default)s)")
    parser.add_argument("--size", type=int, default=416, help="image side in pixels (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=3, help="of the comparison of numbers (default: %(default)s)")
    parser.add_argument("--locator", choices=("filter", "transformer"), default="filter")
    parser.add_argument("--constants", action="store_true", help="also time the model with its weights as constants")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    parser.add_argument("--time-ours", choices=(OURS, CONSTANTS), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.time_ours is None and not (args.peers and (args.peers / "race.py").is_file()):
        parser.error(f"--peers must name the folder of the PyTorch program with race.py. Received: {args.peers}")
    return args


def main(argv=None):
    args = parse_arguments(argv)
    if args.time_ours:
        print(json.dumps(time_ours(args)))
        return 0
    python = torch_python(args.torch_venv, args.peers)
    results = {"machine": describe_machine(args, python)}
    print("\n".join(f"{key}: {value}" for key, value in results["machine"].items()), flush=True)
    missed = []
    if args.only != "numbers":
        results["speed"] = race(args, python)
        if results["speed"]["ratios"]["median"] > RATIO_TARGET:
            missed.append(f"ratio of medians above {RATIO_TARGET}")
    if args.only != "speed":
        results["numbers"] = compare(args, lambda *rest: run([python, "compare.py", *rest], args.peers))
        if max(results["numbers"].values()) > DIFFERENCE_TARGET:
            missed.append(f"a difference above {DIFFERENCE_TARGET}")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"targets: {'missed: ' + ', '.join(missed) if missed else 'met'}")
    return 1 if missed and args.check else 0


def describe_machine(args, python):
    """What the figures depend on."""
    torch = run([python, "-c", "import torch; print(torch.__version__, torch.backends.cpu.get_cpu_capability())"])
    versions = {name: importlib.metadata.version(name) for name in ("keras", "tensorflow", "numpy")}
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {platform.system()}",
        "versions": f"Python {platform.python_version()}, {versions}, torch {torch.strip()}",
        "setting": f"float32, {args.size} x {args.size}, batch 1, {args.threads} threads, OMP_WAIT_POLICY=passive",
        "model": f"Darknet-53 with extra convolutions, {args.locator}, vocabulary 9000, 15 words, random weights",
    }


def race(args, python):
    """Runs all programs in turn, prints their times and the ratio, returns them."""
    common = ["--size", args.size, "--threads", args.threads, "--repeats", args.repeats, "--locator", args.locator]
    programs = {
        name: [python, "race.py", "forward", "--batch", 1, *common, *options] for name, options in LAYOUTS.items()
    }
    for name in (OURS, CONSTANTS) if args.constants else (OURS,):
        programs[name] = [sys.executable, Path(__file__).resolve(), "--time-ours", name, *common]
    lines = {name: [] for name in programs}
    for number in range(1, args.rounds + 1):
        for name, command in programs.items():
            lines[name].append(json.loads(run(command, args.peers).splitlines()[-1]))
        medians = ", ".join(f"{name} {rounds[-1]['ms']['median']:.0f}" for name, rounds in lines.items())
        print(f"round {number} of {args.rounds}, median ms: {medians}, load {os.getloadavg()[0]:.1f}", flush=True)
    return summarize(lines)


def summarize(lines):
    """Ratios of ours to PyTorch's better layout, and the statistics of each program over all rounds.

    Other programs on the machine stretch the wall time and much less the processor time of both threads, so that is
    shown too; the target is on the wall time.
    """
    statistics = {}
    for name, rounds in lines.items():
        low, median, high = np.percentile(np.concatenate([line["samples_ms"] for line in rounds]), (0, 50, 90))
        processor = float(np.median([line["cpu_ms"]["median"] for line in rounds]))
        statistics[name] = {"min": low, "median": median, "p90": high, "processor": processor}
        print(f"{name:28} min {low:6.0f}   median {median:6.0f}   p90 {high:6.0f} ms   processor {processor:6.0f} ms")
    best = min(LAYOUTS, key=lambda name: statistics[name]["median"])
    by_round = [a["ms"]["median"] / b["ms"]["median"] for a, b in zip(lines[OURS], lines[best], strict=True)]
    ratios = {key: statistics[OURS][key] / statistics[best][key] for key in ("median", "min", "processor")}
    print(
        f"ratio to {best}: {ratios['median']:.3f} of medians, {ratios['min']:.3f} of minima, "
        f"{ratios['processor']:.3f} of processor times, {min(by_round):.3f} .. {max(by_round):.3f} by round "
        f"(target: at most {RATIO_TARGET})"
    )
    return {"statistics": statistics, "better_layout": best, "ratios": ratios, "ratio_by_round": by_round}


def time_ours(args):
    """Times full forward passes of `LTS` in this process; returns what race.py gives for PyTorch."""
    import time

    import keras
    import tensorflow as tf

    from lts_keras.models.variants import make_lts

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    model = make_lts(locator=args.locator)
    values = [(variable, variable.numpy()) for variable in model.variables]

    def forward(image, token_ids):
        inputs = {"image": image, "token_ids": token_ids}
        if args.time_ours == OURS:
            return model(inputs, training=False)
        with keras.StatelessScope(state_mapping=[(variable, tf.constant(value)) for variable, value in values]):
            return model(inputs, training=False)

    signature = [tf.TensorSpec((None, None, None, 3)), tf.TensorSpec((None, 15), tf.int32)]
    forward = tf.function(forward, input_signature=signature, autograph=False)
    image = tf.random.uniform((1, args.size, args.size, 3))
    token_ids = tf.random.uniform((1, 15), 2, 9000, tf.int32)
    wall, processor = [], []
    for number in range(2 + args.repeats):
        start, start_processor = time.perf_counter(), time.process_time()
        outputs = forward(image, token_ids)
        outputs["mask"].numpy()
        if number >= 2:  # the first calls trace and warm up, as in race.py
            wall.append((time.perf_counter() - start) * 1e3)
            processor.append((time.process_time() - start_processor) * 1e3)
    medians = {"ms": {"median": float(np.median(wall))}, "cpu_ms": {"median": float(np.median(processor))}}
    return medians | {"samples_ms": wall}


def run(command, folder=None):
    """Runs a program and returns what it prints; its errors come through."""
    environment = os.environ | {
        "OMP_WAIT_POLICY": "passive",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    environment.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    command = [str(Path(command[0]).absolute()), *map(str, command[1:])]
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
