"""`make run`: the whole pipeline on drawn scenes, then one gRPC request with a picture that is in no split."""

import io
import os

import numpy as np
from PIL import Image

from lts_keras.evaluation import pictures
from lts_keras.evaluation.report import format_slices
from lts_keras.utils.files import atomic_write
from lts_keras.utils.quiet import import_tensorflow
from lts_keras.utils.workdir import lock
from pipelines.runner import run_pipeline

__all__ = ["draw_unseen", "run_quickstart"]


def run_quickstart(config, workdir):
    """Runs the pipeline, serves what it pushed, asks about a new picture, and prints a short table.

    Leaves `demo/photo.jpg` and `demo/overlay.png` in the work directory.

    Args:
        config: `Config` with drawn scenes.
        workdir: work directory.
    """
    result = run_pipeline(config, workdir)
    # The server runs in this process: what its libraries have to say about this processor is no part of the answer.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import_tensorflow()
    from lts_keras import LTS
    from lts_keras.metrics import intersection_over_union

    with lock(workdir / ".demo.lock", wait_seconds=120):
        image_bytes, expression, truth = draw_unseen(config)
        answer = ask(workdir / "serving", image_bytes, expression)
        photo = np.asarray(Image.open(io.BytesIO(image_bytes)).convert("RGB"))
        iou = float(intersection_over_union(np.sum(answer.mask & truth), np.sum(answer.mask | truth)))
        note = f"version {answer.version} over gRPC: score {answer.score:.2f}, IoU {iou:.2f}"
        atomic_write(workdir / "demo" / "photo.jpg", image_bytes)
        prior = LTS.from_preset(workdir / "train" / "preset").predictor()(image_bytes, expression).prior
        sheet = pictures.panels(
            photo, expression, prior=prior, mask=answer.mask, truth=truth, point=answer.point, note=note
        )
        pictures.save_png(workdir / "demo" / "overlay.png", sheet)
    print(f"asked the server about a new picture: “{expression}”: IoU {iou:.2f}, score {answer.score:.2f}")
    print(f"\n{format_slices(result['metrics'])}\n")
    for name, path in (
        ("overlay", workdir / "demo" / "overlay.png"),
        ("report", workdir / "evaluate" / "report.html"),
        ("served", workdir / "serving" / str(result["version"])),
    ):
        print(f"{name:8} {path}")


def draw_unseen(config):
    """Draws a scene that is in no split of the data.

    Returns:
        `(JPEG bytes, expression, true mask as bool (height, width))`.
    """
    from lts_keras.data.sources.scenes import draw_scene

    # The scenes of the splits start from another sequence of numbers than this one.
    generator = np.random.default_rng([config.seed, 2**31])
    largest = max((max(source.photo_size) for source in config.data.sources if source.kind == "scenes"), default=160)
    image_bytes, shapes, expressions = draw_scene(generator, (largest, largest), 4, "demo")
    # The sentence that says most.
    expression, shape = max(
        ((text, shape) for shape, texts in zip(shapes, expressions, strict=True) for text in texts),
        key=lambda pair: len(pair[0].split()),
    )
    return image_bytes, expression, shape.mask


def ask(serving_dir, image_bytes, expression):
    """Starts the embedded server on a served folder and sends one request over gRPC; returns its `Answer`."""
    from serving.client import Client
    from serving.options import ServerOptions
    from serving.server import Server

    options = ServerOptions(host="127.0.0.1", port=0, poll_seconds=0)
    with Server({"lts": serving_dir}, options) as server, Client(f"127.0.0.1:{server.port}") as client:
        client.wait_until_ready(timeout=120)
        return client.segment(image_bytes, [expression])[0]
