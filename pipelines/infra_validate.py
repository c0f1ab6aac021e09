"""infra_validate: the real server must load the exported model and answer over gRPC as the Keras model does."""

import json
import shutil
import tempfile
import time

import numpy as np

from lts_keras.utils.files import atomic_write
from pipelines.calibration import calibration_of
from pipelines.stages import StageError

SECTIONS = ("imports", "export")
OUTPUTS = ("infra_validate/log.json",)

# A probability that differs in its last digits may put a pixel on the other side of the threshold.
MAX_DIFFERENT_PIXELS = 1e-4
MAX_SCORE_DIFFERENCE = 1e-4


def run(config, workdir):
    """Serves the model from a scratch folder and asks it; writes `infra_validate/log.json`.

    Returns:
        A line for the console.

    Raises:
        StageError: if the server does not load the model, does not answer, or answers differently.
    """
    from lts_keras.data.prepare.folder import data_folder
    from lts_keras.export.run import find_samples
    from lts_keras.models.trained import trained_model
    from lts_keras.prediction.predictor import Predictor
    from serving.client import Client, ServingError
    from serving.options import ServerOptions
    from serving.server import Server

    model = trained_model(config, workdir)
    samples = find_samples(data_folder(config, workdir), model.image_size)
    folder = workdir / "infra_validate"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="scratch-") as scratch:
        shutil.copytree(workdir / "export" / "saved_model", f"{scratch}/lts/1")
        options = ServerOptions(host="127.0.0.1", port=0, poll_seconds=0)
        try:
            with Server({"lts": f"{scratch}/lts"}, options) as server, Client(f"127.0.0.1:{server.port}") as client:
                client.wait_until_ready(timeout=120)
                log = compare(
                    client, Predictor(model, config.export.batch_sizes[-1], config.export.max_photo_pixels), samples
                )
        except ServingError as error:
            raise StageError(f"the server does not answer: {error}") from error
    atomic_write(folder / "log.json", json.dumps(log, indent=1))
    return f"{log['expressions']} expressions answered as by the Keras model, {log['median_ms']:.0f} ms a photo"


def fingerprint(config, workdir):
    """Threshold and presence that masks are made with, of all that the section `evaluate` holds."""
    return calibration_of(config, workdir)


def compare(client, predictor, samples):
    """Asks both and compares mask, size, score and presence.

    Args:
        client: `serving.client.Client`.
        predictor: `Predictor`, called in the same way.
        samples: list of `(image_bytes, expressions)`.

    Returns:
        Dict for the log: `photos`, `expressions`, `pixels`, `different_pixels`, `median_ms` of a request.

    Raises:
        StageError: at the first answer that differs.
    """
    log, times = {"photos": len(samples), "expressions": 0, "pixels": 0, "different_pixels": 0}, []
    for image_bytes, expressions in samples:
        started = time.monotonic()
        answers = client.segment(image_bytes, expressions)
        times.append(time.monotonic() - started)
        expected = predictor.predict_many(image_bytes, expressions)
        for expression, answer, prediction in zip(expressions, answers, expected, strict=True):
            if answer.mask.shape != prediction.mask.shape:
                raise StageError(f"{expression!r}: mask of {answer.mask.shape} instead of {prediction.mask.shape}")
            different = int(np.sum(answer.mask != prediction.mask))
            if different > max(1, MAX_DIFFERENT_PIXELS * answer.mask.size):
                raise StageError(
                    f"{expression!r}: {different} of {answer.mask.size} pixels differ from the Keras model's"
                )
            if abs(answer.score - prediction.score) > MAX_SCORE_DIFFERENCE:
                raise StageError(f"{expression!r}: score {answer.score} instead of {prediction.score}")
            if answer.presence is None or abs(answer.presence - prediction.presence) > MAX_SCORE_DIFFERENCE:
                raise StageError(f"{expression!r}: presence {answer.presence} instead of {prediction.presence}")
            log["expressions"] += 1
            log["pixels"] += answer.mask.size
            log["different_pixels"] += different
    return log | {"median_ms": 1000 * float(np.median(times))}
