"""Memory and time of a configuration's real training step on this machine, in a process of its own."""

import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path

from lts_keras.config.read import dump_config, load_config
from lts_keras.training.errors import TrainingError

__all__ = ["measure_step"]

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def measure_step(config, folder, precision, batch_sizes=(1, 3), timeout_seconds=900):
    """Runs steps of training on made-up batches and looks at the memory.

    Args:
        config: `Config`. Weights stay random; `train.box_supervision` is left out.
        folder: path of a folder for the process's configuration.
        precision: str, instead of `train.precision`.
        batch_sizes: two ints, the smaller first.
        timeout_seconds: float.

    Returns:
        dict `weights`, `gradients`, `slots` bytes, counted; `peaks`: the process's highest memory in bytes while
        each batch was trained; `seconds`: of a step after the first, for each batch.

    Raises:
        TrainingError: the process failed or took too long.
    """
    path = Path(folder) / f"{precision}.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    sizes = [str(size) for size in batch_sizes]
    command = [sys.executable, "-m", "lts_keras.training.measured_step", str(path), precision, *sizes]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        raise TrainingError(f"measuring a step in {precision} took more than {timeout_seconds:g} s") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise TrainingError(f"measuring a step in {precision} failed ({done.returncode}): {said}")
    return json.loads(done.stdout.splitlines()[-1])


def _measure(path, precision, batch_sizes):
    from lts_keras.models.from_config import build_model
    from lts_keras.training.parts import compile_model
    from lts_keras.training.refiner_parts import compile_refiner
    from lts_keras.utils.imports import import_modules

    config = load_config(path, [f"train.precision={precision}", "train.box_supervision=null"])
    import_modules(config.imports)
    refiner = bool(config.model.refiner_channels)
    # A published vocabulary has about so many words; the padding and the unknown word come on top.
    model = build_model(config, None if refiner else [f"word{number}" for number in range(8998)])
    (compile_refiner if refiner else compile_model)(model, config, 1)
    model.optimizer.build(model.trainable_variables)
    found = {
        "weights": _bytes(model.weights),
        "gradients": _bytes(model.trainable_variables),
        "slots": _bytes(model.optimizer.variables),
        "peaks": [],
        "seconds": [],
    }
    for size in batch_sizes:
        batch = _made_up_batch(config, model, size)
        _CLEAR.write_text("5")  # the highest memory so far is forgotten
        model.train_on_batch(*batch)
        model.train_on_batch(*batch)
        started = time.perf_counter()
        model.train_on_batch(*batch)
        found["seconds"].append(time.perf_counter() - started)
        found["peaks"].append(_peak())
    return found


def _made_up_batch(config, model, size):
    """`(x, y, sample_weight)` of the shapes that `training_dataset` gives."""
    import numpy as np

    random, options = np.random.default_rng(0), config.model
    side = options.image_size // 8
    per_image = config.train.sampling == "per_image" and not options.refiner_channels
    rows = (size, config.train.expressions_per_image) if per_image else (size,)
    if options.refiner_channels:
        shape = (size, side, side)
        x = {"features": random.random((*shape, options.refiner_channels)), "prior": random.random((*shape, 1))}
    elif config.train.cache_features:
        maps = {name: model.backbone.output[name].shape[-1] for name in ("c3", "c4", "c5")}
        x = {
            name: random.random((size, 2 * side >> place, 2 * side >> place, maps[name]))
            for place, name in enumerate(("c3", "c4", "c5"), start=1)
        }
    else:
        x = {"image": random.random((size, options.image_size, options.image_size, 3))}
    x = {name: value.astype("float32") for name, value in x.items()}
    if not options.refiner_channels:
        x["token_ids"] = random.integers(2, 9000, (*rows, options.max_tokens), dtype=np.int32)
    if per_image:
        x["expression_mask"] = np.ones(rows, bool)
    y = {"mask": random.integers(0, 2, (*rows, 2 * side, 2 * side, 1)).astype("float32")}
    if not options.refiner_channels:
        y["prior"] = random.integers(0, 2, (*rows, side, side, 1)).astype("float32")
    return x, y, {name: np.ones(rows, "float32") for name in y}


def _bytes(variables):
    sizes = {"float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "uint64": 8}
    return sum(math.prod(one.shape) * sizes.get(str(one.dtype), 4) for one in variables)


def _peak():
    """The highest memory of this process since it was last forgotten, in bytes."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("precision")
    parser.add_argument("batch_sizes", type=int, nargs=2)
    given = parser.parse_args()
    print(json.dumps(_measure(given.path, given.precision, given.batch_sizes)))
