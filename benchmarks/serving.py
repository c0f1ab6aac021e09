"""What serving adds to the network, and how fast the exported networks are beside plain Keras and PyTorch.

    python benchmarks/serving.py --check --json serving.json

An LTS of the paper's size with random weights is exported into the work directory once. `wire` starts the embedded
server on it in a process of its own and asks from this one:

- one request over gRPC, against the same signature of the SavedModel called in this process;
- 8 clients, each with three photos one after the other, against three calls of 8 photos;
- 8 sentences on one photo, and a second sentence on a photo just seen, against one sentence on a new photo;
- the first request after a start with warm-up, against the median of later ones.

`networks` times the network alone, one row: the exported float32 and bfloat16 graphs against the plain Keras call, also
with the environment that `serving/deploy` gives them, and the ONNX files in float32 and int8, with PyTorch beside them
where --peers names the PyTorch program (see against_pytorch.py).

Everything that is compared runs in turn in one run. Only ratios travel from one machine to another: printed are the
ratios of medians, and the smallest and largest ratio of a round.
"""

import argparse
import json
import os
import platform
import statistics
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # before this folder, where this very file has the package's name

from serving_models import export_models  # noqa: E402
from serving_networks import race_networks  # noqa: E402
from serving_wire import race_wire  # noqa: E402

TARGETS = {
    "round trip over gRPC / direct call": 1.03,
    "8 clients / 8 photos in one call": 1.1,
    "8 sentences on a photo / one": 2.1,
    "second sentence on a photo / first": 0.25,
    "first request after warm-up / median": 1.2,
    "float32 graph as deployed / plain Keras": 0.9,
    "bfloat16 graph / plain Keras": 0.55,
    "onnxruntime int8 / PyTorch": 0.35,
}
"""The largest ratio of times that each may have."""


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("LTS_TEST_DATA")
    parser.add_argument("--workdir", type=Path, default=ROOT / "runs" / "serving-benchmark", help="for the exports")
    parser.add_argument("--only", choices=("wire", "networks"), help="one of the two parts")
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
    parser.add_argument("--size", type=int, default=416, help="side of the network's square (default: %(default)s)")
    parser.add_argument("--peers", type=Path, default=Path(data) / "peers" if data else None, help="PyTorch program")
    parser.add_argument("--torch-venv", type=Path, default=ROOT / ".venv-torch", help="made if it is not there")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    args = parser.parse_args(argv)
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load": round(os.getloadavg()[0], 1)}
    print(json.dumps(machine), flush=True)
    models = export_models(args.workdir, args.size)
    results = {}
    if args.only != "networks":
        results |= race_wire(models, args.rounds)
    if args.only != "wire":
        results |= race_networks(models, args.rounds, args.peers, args.torch_venv)
    missed = [name for name, found in results.items() if not say(name, found)]
    if args.json:
        args.json.write_text(json.dumps({"machine": machine, "ratios": results}, indent=1) + "\n", encoding="utf-8")
    print(f"targets: {'missed: ' + ', '.join(missed) if missed else 'met'}")
    return 1 if missed and args.check else 0


def say(name, found):
    """Prints one comparison; returns whether its target, if it has one, is met."""
    first, second = (f"{1000 * statistics.median(found[key]):.0f} ms" for key in ("times", "reference_times"))
    by_round = [a / b for a, b in zip(found["times"], found["reference_times"], strict=False)]
    target = TARGETS.get(name)
    met = target is None or found["ratio"] <= target
    wanted = "" if target is None else f", target at most {target}: {'met' if met else 'MISSED'}"
    spread = f"{min(by_round):.3f} .. {max(by_round):.3f}"
    print(f"{name}: {found['ratio']:.3f} ({spread} by round; {first} to {second}){wanted}", flush=True)
    return met


if __name__ == "__main__":
    sys.exit(main())
