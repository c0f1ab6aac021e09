"""The exported networks, one photo and one sentence, against the plain Keras call and PyTorch."""

import contextlib
import json
import os
import subprocess
import sys

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the operators of the tokenizer
from racing import LAYOUTS, run
from serving_wire import compare, timed
from torch_environment import torch_python

THREADS = 2

DEPLOYED = """
import sys, time
import numpy as np, tensorflow as tf, tensorflow_text

segment = tf.saved_model.load(sys.argv[1]).signatures["segment_tensors"]
with np.load(sys.argv[2]) as given:
    tensors = {name: tf.constant(given[name]) for name in given.files}
for line in sys.stdin:
    start = time.perf_counter()
    segment(**tensors)["mask"].numpy()
    print(time.perf_counter() - start, flush=True)
"""


def race_networks(models, rounds, peers, torch_venv):
    """Returns the comparisons by name, as `race_wire`."""
    import onnxruntime

    model = models.model
    rng = np.random.default_rng(0)
    image = rng.random((1, model.image_size, model.image_size, 3), dtype=np.float32)
    token_ids = rng.integers(2, 8_000, (1, model.max_tokens), dtype=np.int32)
    plain = tf.function(lambda image, token_ids: model({"image": image, "token_ids": token_ids}, training=False))
    loaded = {name: tf.saved_model.load(str(getattr(models, name) / "1")) for name in ("float32", "bfloat16")}
    tensors = {"image": tf.constant(image), "token_ids": tf.constant(token_ids)}
    ways = {"plain": lambda: timed(lambda: plain(**tensors)["mask"].numpy())}
    for name, graph in loaded.items():
        signature = graph.signatures["segment_tensors"]
        ways[name] = lambda signature=signature: timed(lambda: signature(**tensors)["mask"].numpy())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    inputs = {"image": image, "token_ids": token_ids}
    for name, path in {"onnx": models.onnx, "onnx int8": models.onnx_int8}.items():
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        ways[name] = lambda session=session: timed(lambda: session.run(["mask"], inputs))
    np.savez(models.folder / "question.npz", **inputs)
    with_torch = peers is not None and (peers / "race.py").is_file()
    with contextlib.ExitStack() as running:
        for name in loaded:
            way = running.enter_context(deployed(getattr(models, name) / "1", models.folder / "question.npz"))
            ways[f"{name}, deployed"] = way
        if with_torch:
            torch = torch_python(torch_venv, peers)
            for layout, arguments in LAYOUTS.items():
                command = [torch, "race.py", "forward", "--batch", 1, "--size", model.image_size, "--threads", THREADS]
                command += ["--repeats", 3, *arguments]
                # A process of its own, which times itself after its own warm-up.
                ways[f"torch, {layout}"] = lambda command=command: (
                    json.loads(run(command, peers).splitlines()[-1])["ms"]["median"] / 1000
                )
        times = take_turns(ways, rounds)
    results = {
        "float32 graph / plain Keras": compare(times["float32"], times["plain"]),
        "float32 graph as deployed / plain Keras": compare(times["float32, deployed"], times["plain"]),
        "bfloat16 graph / plain Keras": compare(times["bfloat16"], times["plain"]),
        "bfloat16 graph as deployed / plain Keras": compare(times["bfloat16, deployed"], times["plain"]),
        "onnxruntime float32 / plain Keras": compare(times["onnx"], times["plain"]),
        "onnxruntime int8 / plain Keras": compare(times["onnx int8"], times["plain"]),
    }
    if with_torch:
        best = min((times[f"torch, {layout}"] for layout in LAYOUTS), key=np.median)
        results["onnxruntime float32 / PyTorch"] = compare(times["onnx"], best)
        results["onnxruntime int8 / PyTorch"] = compare(times["onnx int8"], best)
    return results


def take_turns(ways, rounds):
    """Calls each way in every round; PyTorch, which takes long, in every second one. Returns lists of seconds."""
    times = {name: [] for name in ways}
    for number in range(rounds + 2):
        for name, way in ways.items():
            if name.startswith("torch") and number % 2:
                continue
            seconds = way()
            if number > 1:
                times[name].append(seconds)
    return times


@contextlib.contextmanager
def deployed(saved_model, question):
    """A process with the environment of `serving/deploy`; gives a function that runs its network once, in seconds."""
    environment = os.environ | {"TF_ONEDNN_ASSUME_FROZEN_WEIGHTS": "1"}
    command = [sys.executable, "-c", DEPLOYED, str(saved_model), str(question)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:

        def ask():
            process.stdin.write("\n")
            process.stdin.flush()
            return float(process.stdout.readline())

        try:
            yield ask
        finally:
            process.kill()
