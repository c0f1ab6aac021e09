"""The embedded server against direct calls of the same SavedModel."""

import collections
import concurrent.futures
import contextlib
import io
import itertools
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the operators of the tokenizer
from PIL import Image

from serving.client import Client

ROOT = Path(__file__).resolve().parent.parent
SENTENCES = [f"the {word} cup in the word{number}" for number, word in enumerate(("left", "right", "red", "man") * 2)]
_STARTS = 3
_REQUESTS_PER_CLIENT = 3


def race_wire(models, rounds):
    """Returns the comparisons by name: `ratio` of medians, and the times of both sides in seconds."""
    photos = map(photo, itertools.count())
    direct = tf.saved_model.load(str(models.float32 / "1")).signatures["serving_default"]

    def call(images):
        direct(image_bytes=tf.constant(images), expression=tf.constant(SENTENCES[: len(images)]))[
            "mask_png_bytes"
        ].numpy()

    times = collections.defaultdict(list)
    with running(models.float32) as target, Client(target, timeout=300) as client:
        for number in range(rounds + 1):
            found = one_round(client, call, photos)
            print(f"round {number}: " + ", ".join(f"{name} {1000 * s:.0f}" for name, s in found.items()), flush=True)
            if number:  # the first traces and warms up
                for name, seconds in found.items():
                    times[name].append(seconds)
    results = {
        "round trip over gRPC / direct call": compare(times["rpc"], times["direct"]),
        "8 clients / 8 photos in one call": compare(times["clients"], times["batch"]),
        "8 sentences on a photo / one": compare(times["sentences"], times["one"]),
        "second sentence on a photo / first": compare(times["second"], times["one"]),
    }
    return results | {"first request after warm-up / median": first_requests(models.float32, photos)}


def one_round(client, call, photos):
    """Times every way once; returns seconds by name."""
    batches = [[next(photos) for _ in range(8)] for _ in range(_REQUESTS_PER_CLIENT)]
    one, other, third = next(photos), next(photos), next(photos)
    return {
        "direct": timed(lambda: call([one])),
        "rpc": timed(lambda: default(client, [one])),
        "batch": timed(lambda: [call(batch) for batch in batches]),
        "clients": timed(lambda: together(client, zip(*batches, strict=True))),
        "one": timed(lambda: client.segment(other, SENTENCES[:1])),
        "second": timed(lambda: client.segment(other, SENTENCES[1:2])),
        "sentences": timed(lambda: client.segment(third, SENTENCES)),
    }


def first_requests(folder, photos):
    """The first request of several starts, each against the median of those that follow."""
    first, later = [], []
    for _ in range(_STARTS):
        with running(folder) as target, Client(target, timeout=300) as client:
            seconds = [timed(lambda: default(client, [next(photos)])) for _ in range(6)]
        first.append(seconds[0])
        later.append(statistics.median(seconds[1:]))
    return compare(first, later)


def default(client, images):
    inputs = {
        "image_bytes": np.array(images, dtype=object),
        "expression": np.array([text.encode() for text in SENTENCES[: len(images)]], dtype=object),
    }
    return client.predict(inputs, "serving_default")


def together(client, photos_of_clients):
    """Each of the clients asks about its photos, one after the other."""

    def ask(photos):
        for image in photos:
            default(client, [image])

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, photos_of_clients))


@contextlib.contextmanager
def running(base_path):
    """A server process on a free port, warmed up; gives its `host:port`."""
    command = [sys.executable, "-m", "serving", "server", "--port=0", f"--model_base_path={base_path}"]
    command += ["--model_name=lts", "--file_system_poll_wait_seconds=0"]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as server:
        try:
            for line in server.stderr:
                if found := re.search(r"Running gRPC ModelServer at \S*?:(\d+)", line):
                    break
            else:
                raise RuntimeError(f"the server ended with exit code {server.wait()}")
            with Client(f"127.0.0.1:{found[1]}", timeout=300) as client:
                client.wait_until_ready(timeout=300)
            yield f"127.0.0.1:{found[1]}"
        finally:
            server.terminate()
            server.stderr.close()


def photo(number):
    """A JPEG photo of VGA size with other pixels for each number."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 255, (15, 20, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).resize((640, 480), Image.Resampling.BICUBIC).save(content, "JPEG", quality=90)
    return content.getvalue()


def compare(times, reference):
    ratio = statistics.median(times) / statistics.median(reference)
    return {"ratio": ratio, "times": times, "reference_times": reference}


def timed(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
