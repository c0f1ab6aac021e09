"""What the races against PyTorch share: their options, processes in turn, timers and statistics.

The PyTorch program (race.py, compare.py) is no part of this project: --peers names its folder.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
LAYOUTS = {"channels first": (), "channels last": ("--channels-last",)}
"""PyTorch's memory layouts; the better one counts."""
PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
"""Names here and the dtype policies that they stand for."""


def make_parser(description):
    """A parser with the options that every race has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    parser.add_argument("--rounds", type=int, default=5, help="processes of each program (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls of each process (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of each program (default: %(default)s)")
    parser.add_argument("--locator", choices=("filter", "transformer"), default="filter")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    parser.add_argument("--time-ours", help=argparse.SUPPRESS)
    return parser


def parse(parser, argv=None):
    """Parses; without the PyTorch program, ends in one line that says so."""
    args = parser.parse_args(argv)
    if args.time_ours is None and not (args.peers and (args.peers / "race.py").is_file()):
        parser.error(f"--peers must name the folder of the PyTorch program with race.py. Received: {args.peers}")
    return args


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


def take_turns(programs, rounds, folder):
    """Runs all programs in turn, several times, so that what else the machine does meets all of them.

    Args:
        programs: dict of commands by name; each prints a line of JSON with `ms`, `cpu_ms` and `samples_ms`.
        rounds: int.
        folder: where they run.

    Returns:
        dict of lists of these lines, by name.
    """
    lines = {name: [] for name in programs}
    for number in range(1, rounds + 1):
        for name, command in programs.items():
            lines[name].append(json.loads(run(command, folder).splitlines()[-1]))
        medians = ", ".join(f"{name} {found[-1]['ms']['median']:.0f}" for name, found in lines.items())
        print(f"round {number} of {rounds}, median ms: {medians}; load {os.getloadavg()[0]:.1f}", flush=True)
    return lines


def summarize(lines):
    """Statistics of each program over all rounds, in milliseconds, printed too.

    Other programs on the machine stretch the wall time and much less the processor time of all threads, so that is
    shown too; targets are on the wall time.
    """
    statistics = {}
    for name, rounds in lines.items():
        low, median, high = np.percentile(np.concatenate([line["samples_ms"] for line in rounds]), (0, 50, 90))
        processor = float(np.median([line["cpu_ms"]["median"] for line in rounds]))
        statistics[name] = {"min": low, "median": median, "p90": high, "processor": processor}
        print(f"{name:44} min {low:6.0f}   median {median:6.0f}   p90 {high:6.0f} ms   processor {processor:6.0f} ms")
    return statistics


def better(names, statistics):
    """The fastest of several programs, by median."""
    return min(names, key=lambda name: statistics[name]["median"])


def ratios(lines, statistics, ours, theirs, share=1.0):
    """Time of `ours` in parts of `theirs`, times `share`: by median, minimum, processor time, and by round."""
    found = {key: share * statistics[ours][key] / statistics[theirs][key] for key in ("median", "min", "processor")}
    by_round = [share * a["ms"]["median"] / b["ms"]["median"] for a, b in zip(lines[ours], lines[theirs], strict=True)]
    return found | {"by_round": by_round}


def say_ratio(ours, theirs, found, target):
    """Prints one ratio with its target; returns whether the target is met."""
    met = found["median"] <= target
    low, high = min(found["by_round"]), max(found["by_round"])
    print(
        f"{ours} to {theirs}: {found['median']:.3f} of medians, {found['min']:.3f} of minima, "
        f"{found['processor']:.3f} of processor times, {low:.3f} .. {high:.3f} by round "
        f"(target: at most {target}) {'met' if met else 'MISSED'}",
        flush=True,
    )
    return met


def finish(args, results, missed):
    """Writes the results where asked to, says whether targets are met; returns the exit code."""
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"targets: {'missed: ' + ', '.join(missed) if missed else 'met'}")
    return 1 if missed and args.check else 0


def time_calls(function, repeats, warmup=2):
    """Times calls in this process, after some that trace and warm up; returns what race.py gives for PyTorch."""
    wall, processor = [], []
    for number in range(warmup + repeats):
        start, start_processor = time.perf_counter(), time.process_time()
        function()
        if number >= warmup:
            wall.append((time.perf_counter() - start) * 1e3)
            processor.append((time.process_time() - start_processor) * 1e3)
    medians = {"ms": {"median": float(np.median(wall))}, "cpu_ms": {"median": float(np.median(processor))}}
    return medians | {"samples_ms": wall}


def set_threads(threads):
    """Gives TensorFlow as many threads as race.py gives PyTorch; before the first operation."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def describe_machine(args, python, **setting):
    """What the figures depend on, printed too."""
    torch = run([python, "-c", "import torch; print(torch.__version__, torch.backends.cpu.get_cpu_capability())"])
    versions = {name: importlib.metadata.version(name) for name in ("keras", "tensorflow", "numpy")}
    machine = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {platform.system()}",
        "versions": f"Python {platform.python_version()}, {versions}, torch {torch.strip()}",
        "setting": f"{args.threads} threads, OMP_WAIT_POLICY=passive, {args.rounds} rounds of {args.repeats} calls",
        "model": f"Darknet-53 with extra convolutions, {args.locator}, vocabulary 9000, 15 words, random weights",
    } | setting
    print("\n".join(f"{key}: {value}" for key, value in machine.items()), flush=True)
    return machine
