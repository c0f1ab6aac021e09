"""The exported networks, one photo and one sentence, against the plain Keras call and PyTorch."""

import json

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the operators of the tokenizer
from racing import LAYOUTS, run
from serving_wire import compare, timed
from torch_environment import torch_python

THREADS = 2


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
    ways = {"plain": lambda: plain(**tensors)["mask"].numpy()}
    for name, graph in loaded.items():
        ways[name] = lambda signature=graph.signatures["segment_tensors"]: signature(**tensors)["mask"].numpy()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    for name, path in {"onnx": models.onnx, "onnx int8": models.onnx_int8}.items():
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        ways[name] = lambda session=session: session.run(["mask"], {"image": image, "token_ids": token_ids})
    with_torch = peers is not None and (peers / "race.py").is_file()
    if with_torch:
        torch = torch_python(torch_venv, peers)
        for layout, arguments in LAYOUTS.items():
            command = [torch, "race.py", "forward", "--batch", 1, "--size", model.image_size, "--threads", THREADS]
            ways[f"torch, {layout}"] = lambda command=[*command, "--repeats", 3, *arguments]: run(command, peers)
    times = {name: [] for name in ways}
    for number in range(rounds + 2):
        for name, way in ways.items():
            if name.startswith("torch"):
                # A process of its own, which times itself after its own warm-up; not in each round, it takes long.
                if number % 2:
                    continue
                seconds = json.loads(way().splitlines()[-1])["ms"]["median"] / 1000
            else:
                seconds = timed(way)
            if number > 1:
                times[name].append(seconds)
    results = {
        "float32 graph / plain Keras": compare(times["float32"], times["plain"]),
        "bfloat16 graph / plain Keras": compare(times["bfloat16"], times["plain"]),
        "onnxruntime float32 / plain Keras": compare(times["onnx"], times["plain"]),
        "onnxruntime int8 / plain Keras": compare(times["onnx int8"], times["plain"]),
    }
    if with_torch:
        best = min((times[f"torch, {layout}"] for layout in LAYOUTS), key=np.median)
        results["onnxruntime float32 / PyTorch"] = compare(times["onnx"], best)
        results["onnxruntime int8 / PyTorch"] = compare(times["onnx int8"], best)
    return results
