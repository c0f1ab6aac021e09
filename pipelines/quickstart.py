"""`make run`: the whole pipeline on drawn scenes, then new pictures over gRPC, of which the typical one is kept."""

import dataclasses
import os

import numpy as np

from lts_keras.evaluation import pictures
from lts_keras.evaluation.printed import format_slices
from lts_keras.prediction.question import view_photo
from lts_keras.utils.files import atomic_write
from lts_keras.utils.quiet import import_tensorflow
from lts_keras.utils.workdir import lock
from pipelines.runner import run_pipeline

__all__ = ["draw_unseen", "find_typical", "run_quickstart"]

NUM_SCENES = 50
# The scenes of the splits start from other sequences of numbers than this one.
_UNSEEN = 2**31


def run_quickstart(config, workdir):
    """Runs the pipeline, serves what it pushed, asks about new pictures, and prints a short table.

    Leaves the picture whose answer is the median of all in `demo/photo.jpg` and `demo/overlay.png` of the work
    directory: neither the best nor a lucky one.

    Args:
        config: `Config` with drawn scenes.
        workdir: work directory.
    """
    result = run_pipeline(config, workdir)
    # The server runs in this process: what its libraries have to say about this processor is no part of the answer.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import_tensorflow()
    from lts_keras.metrics import intersection_over_union

    with lock(workdir / ".demo.lock", wait_seconds=120):
        scenes = [draw_unseen(config, number) for number in range(NUM_SCENES)]
        answers = ask(workdir / "serving", scenes)
        ious = [
            float(intersection_over_union(np.sum(answer.mask & truth), np.sum(answer.mask | truth)))
            for answer, (_, _, truth) in zip(answers, scenes, strict=True)
        ]
        typical, rank, quartiles = find_typical(ious)
        _, expression, _ = scenes[typical]
        told = f"rank {rank} of {len(ious)} by IoU (quartiles {', '.join(f'{value:.2f}' for value in quartiles)})"
        _save(config, workdir, scenes[typical], answers[typical], f"IoU {ious[typical]:.2f}, {told}")
    print(
        f"asked the server about {len(ious)} new pictures; the typical one, “{expression}”: "
        f"IoU {ious[typical]:.2f}, {told}"
    )
    print(f"\n{format_slices(result['metrics'])}\n")
    for name, path in (
        ("overlay", workdir / "demo" / "overlay.png"),
        ("report", workdir / "evaluate" / "report.html"),
        ("served", workdir / "serving" / str(result["version"])),
    ):
        print(f"{name:8} {path}")


def find_typical(values):
    """Finds the value at the median.

    Args:
        values: sequence of float.

    Returns:
        `(index, rank, quartiles)`: the index of the median, of two the better one; its rank, 1 for the largest value;
        the 25 %, 50 % and 75 % quantiles.
    """
    order = sorted(range(len(values)), key=lambda index: values[index], reverse=True)
    middle = (len(values) - 1) // 2
    return order[middle], middle + 1, tuple(np.quantile(values, (0.25, 0.5, 0.75)).tolist())


def draw_unseen(config, number=0):
    """Draws a scene that is in no split of the data, of the size and with the shapes and words that those have.

    Returns:
        `(JPEG bytes, expression, true mask as bool (height, width))`.
    """
    from lts_keras.config.schema import ScenesSource
    from lts_keras.data.sources.scene_drawing import Look
    from lts_keras.data.sources.scenes import draw_scene

    generator = np.random.default_rng([config.seed, _UNSEEN, number])
    source = next((source for source in config.data.sources if source.kind == "scenes"), ScenesSource())
    size = tuple(int(side) for side in generator.integers(source.photo_size[0], source.photo_size[1] + 1, 2))
    look = Look(**{field.name: getattr(source, field.name) for field in dataclasses.fields(Look)})
    image_bytes, shapes, expressions, _ = draw_scene(generator, size, look, "demo")
    pairs = [(text, shape) for shape, texts in zip(shapes, expressions, strict=True) for text in texts]
    expression, shape = pairs[generator.integers(len(pairs))]
    return image_bytes, expression, shape.mask


def ask(serving_dir, scenes):
    """Starts the embedded server on a served folder and asks about each scene over gRPC; returns its `Answer`s."""
    from serving.client import Client
    from serving.options import ServerOptions
    from serving.server import Server

    options = ServerOptions(host="127.0.0.1", port=0, poll_seconds=0)
    with Server({"lts": serving_dir}, options) as server, Client(f"127.0.0.1:{server.port}") as client:
        client.wait_until_ready(timeout=120)
        return [client.segment(image_bytes, [expression])[0] for image_bytes, expression, _ in scenes]


def _save(config, workdir, scene, answer, note):
    """Writes the photo, and the sheet with prior, mask and truth; the server gives no prior, so the preset does."""
    from lts_keras.models.trained import trained_model

    image_bytes, expression, truth = scene
    prior = trained_model(config, workdir).predictor()(image_bytes, expression).prior
    photo = view_photo(image_bytes)
    note = f"version {answer.version} over gRPC: score {answer.score:.2f}, {note}"
    sheet = pictures.panels(
        photo, expression, prior=prior, mask=answer.mask, truth=truth, point=answer.point, note=note
    )
    atomic_write(workdir / "demo" / "photo.jpg", image_bytes)
    pictures.save_png(workdir / "demo" / "overlay.png", sheet)
