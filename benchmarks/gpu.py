"""Checks on a machine with GPUs what cannot be checked without them, in one command.

- a training step on several GPUs (NCCL) is the step of one, float32 without TF32, batch norm trained;
- float32, mixed_float16 and mixed_bfloat16 stay finite over some steps; milliseconds a step and images a second on 1,
  2, 4 and 8 GPUs;
- memory of table 7's model (transformer, two filters, 480 x 480) at a batch.

Every measurement runs in a process of its own, on random weights and noise, through `fit`. Where there is no GPU, one
line says so and the exit code is 0.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

DIFFERENCE_TARGET = 1e-5
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
WARM_UP = 3


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=416, help="image side in pixels (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="photos on each device (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="timed steps (default: %(default)s)")
    parser.add_argument("--precision", choices=PRECISIONS, nargs="+", default=list(PRECISIONS), help="(default: all)")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    # Logical parts of the processor stand for GPUs and a small model for the paper's: runs this code without a GPU.
    parser.add_argument("--logical-cpus", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_arguments(argv)
    if args.measure:
        what, devices, precision = args.measure.split(",")
        print(json.dumps(MEASUREMENTS[what](args, int(devices), precision)))
        return 0
    found = measure(args, "count", 0, "float32")
    count = args.logical_cpus or found["devices"]
    if not count:
        print("no GPU here: nothing was checked (equal steps with NCCL, mixed precision, step times, memory)")
        return 0
    names = "logical parts of the processor" if args.logical_cpus else f"GPUs: {', '.join(found['names'])}"
    print(f"{count} {names}; TensorFlow {found['tensorflow']}, Python {platform.python_version()}")
    results, failed = {"machine": found | {"used": count}}, []
    counts = [devices for devices in (1, 2, 4, 8) if devices <= count]
    for devices in counts[1:]:
        difference = measure(args, "equality", devices, "float32")["difference"]
        results[f"equality, {devices} devices"] = difference
        print(f"one step on {devices} devices: weights differ by {difference:.1e} (at most {DIFFERENCE_TARGET})")
        if not difference <= DIFFERENCE_TARGET:
            failed.append(f"a step on {devices} devices is not that of one")
    for precision in args.precision:
        for devices in counts:
            speed = measure(args, "speed", devices, precision)
            results[f"{precision}, {devices} devices"] = speed
            print(
                f"{precision}, {devices} x {args.batch} photos: {speed['milliseconds']:.1f} ms a step "
                f"({speed['low']:.1f} to {speed['high']:.1f}), {speed['images_per_second']:.1f} images/s, last loss "
                f"{speed['loss']:.1f}",
                flush=True,
            )
            if not math.isfinite(speed["loss"]):
                failed.append(f"{precision} on {devices} devices is not finite")
        memory = measure(args, "memory", 1, precision)
        results[f"{precision}, memory of table 7"] = memory
        shown = "is told by GPUs alone" if memory["peak"] is None else f"{memory['peak'] / 2**30:.2f} GiB at its peak"
        print(f"{precision}, table 7 at {memory['size']} pixels, {args.batch} photos: memory {shown}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"failed: {'; '.join(failed)}" if failed else "all checks passed")
    return 1 if failed else 0


def measure(args, what, devices, precision):
    """Runs one measurement in a process of its own; returns what it prints."""
    options = ["--size", args.size, "--batch", args.batch, "--steps", args.steps, "--logical-cpus", args.logical_cpus]
    command = [sys.executable, __file__, "--measure", f"{what},{devices},{precision}", *options]
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{what} on {devices} devices in {precision} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def count_devices(args, devices, precision):
    """Names of the GPUs."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    names = sorted({tf.config.experimental.get_device_details(gpu).get("device_name", "?") for gpu in gpus})
    return {"devices": len(gpus), "names": names, "tensorflow": tf.__version__}


def measure_equality(args, devices, precision):
    """Largest difference of the weights after one step of SGD, on several devices and on one."""
    import tensorflow as tf

    from lts_keras.training.devices import make_strategy

    tf.config.experimental.enable_tensor_float_32_execution(False)
    several = make_strategy(devices)
    weights = []
    for strategy in (several, tf.distribute.get_strategy()):
        with strategy.scope():
            model = make_model(args, "refcoco", precision, optimizer="sgd", trainable_backbone="all")
        model.fit(make_dataset(model, 2 * devices, steps=1), verbose=0)
        weights.append([np.asarray(value) for value in model.weights if "seed" not in value.path])
    return {"difference": max(float(np.abs(a - b).max()) for a, b in zip(*weights, strict=True))}


def measure_speed(args, devices, precision):
    """Time of a step and whether the loss stays finite."""
    from lts_keras.training.devices import make_strategy

    with make_strategy(devices).scope():
        model = make_model(args, "refcoco", precision)
    times, loss = fit(model, args.batch * devices, args.steps)
    low, median, high = np.percentile(times, (10, 50, 90))
    return {
        "milliseconds": median,
        "low": low,
        "high": high,
        "images_per_second": args.batch * devices / median * 1e3,
        "loss": loss,
    }


def measure_memory(args, devices, precision):
    """Peak of a GPU's memory over some steps of table 7's model."""
    import tensorflow as tf

    from lts_keras.training.devices import make_strategy

    make_strategy(1)
    model = make_model(args, "table7_refcoco", precision)
    fit(model, args.batch, steps=1)
    gpus = tf.config.list_logical_devices("GPU")
    peak = tf.config.experimental.get_memory_info("GPU:0")["peak"] if gpus else None
    return {"peak": peak, "size": model.image_size}


def make_model(args, variant, precision, optimizer="auto", **options):
    """A compiled model of one row of the paper's tables, all of it the same from process to process."""
    import keras

    from lts_keras.models.variants import lts_variant

    keras.utils.set_random_seed(0)
    options["dtype"] = precision
    if args.logical_cpus:
        options |= {"backbone": "darknet_tiny", "embedding_dim": 8, "gru_units": 8, "joint_dim": 16, "fusion_dim": 8}
        options |= {"aspp_dim": 8, "image_size": 64}
    elif variant == "refcoco":
        options["image_size"] = args.size
    model = lts_variant(variant, **options)
    model.compile(optimizer=keras.optimizers.SGD(0.01) if optimizer == "sgd" else optimizer, weighted_metrics=None)
    return model


def make_dataset(model, batch, steps):
    """The same photos, masks and sentences of noise at every step."""
    import tensorflow as tf

    random, size = np.random.default_rng(0), model.image_size
    inputs = {
        "image": random.random((batch, size, size, 3), dtype="float32"),
        "token_ids": random.integers(2, 9000, (batch, model.max_tokens), dtype="int32"),
    }
    targets = {
        name: (random.random((batch, size // stride, size // stride, 1)) < 0.5).astype("float32")
        for name, stride in (("mask", 4), ("prior", 8))
    }
    data = tf.data.Dataset.from_tensor_slices((inputs, targets))
    return data.repeat(steps).batch(batch, drop_remainder=True).prefetch(2)


def fit(model, batch, steps):
    """Milliseconds of each step behind the first ones, and the last loss."""
    import keras

    ends, losses = [], []

    def note(step, logs):
        ends.append(time.perf_counter())  # Keras has the loss as a number by then, so the step is over
        losses.append(float(logs["loss"]))

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=note)
    model.fit(make_dataset(model, batch, WARM_UP + steps), verbose=0, callbacks=[callback])
    return np.diff(ends)[WARM_UP - 1 :] * 1e3, losses[-1]


MEASUREMENTS = {
    "count": count_devices,
    "equality": measure_equality,
    "speed": measure_speed,
    "memory": measure_memory,
}

if __name__ == "__main__":
    sys.exit(main())
