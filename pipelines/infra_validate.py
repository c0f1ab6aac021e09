"""infra_validate: the real server must load the export and answer over gRPC and REST as the Keras model does."""

import base64
import json
import shutil
import tempfile
import time
import urllib.error
import urllib.request

import numpy as np

from lts_keras.utils.files import atomic_write
from pipelines.calibration import calibration_of
from pipelines.stages import StageError

SECTIONS = ("imports", "export")
OUTPUTS = ("infra_validate/log.json",)

SIGNATURES_OF_PHOTOS = ("serving_default", "segment_expressions")
_SHOWN = 3
_SECONDS = 300


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
    from lts_keras.prediction.compare import TOLERANCES
    from lts_keras.prediction.predictor import Predictor
    from serving.client import Client, ServingError
    from serving.options import ServerOptions
    from serving.server import Server

    model = trained_model(config, workdir)
    samples = find_samples(data_folder(config, workdir), model.image_size)
    predictor = Predictor(model, config.export.batch_sizes[-1], config.export.max_photo_pixels)
    tolerance = TOLERANCES[config.export.precision]
    folder = workdir / "infra_validate"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="scratch-") as scratch:
        shutil.copytree(workdir / "export" / "saved_model", f"{scratch}/lts/1")
        options = ServerOptions(host="127.0.0.1", port=0, rest_port=0, poll_seconds=0)
        try:
            with Server({"lts": f"{scratch}/lts"}, options) as server, Client(f"127.0.0.1:{server.port}") as client:
                client.wait_until_ready(timeout=120)
                asked = lambda name, inputs: client.predict(inputs, name, timeout=_SECONDS)[0]  # noqa: E731
                log = {"grpc": compare(asked, predictor, samples, tolerance)}
                # Pixels and features as text would take longer than all the rest.
                rest = ask_rest(server.rest_port)
                log["rest"] = compare(rest, predictor, samples[:1], tolerance, SIGNATURES_OF_PHOTOS)
        except ServingError as error:
            raise StageError(f"the server does not answer: {error}") from error
    log |= log["grpc"]
    atomic_write(folder / "log.json", json.dumps(log, indent=1))
    return f"{log['expressions']} expressions answered as by the Keras model, {log['median_ms']:.0f} ms a photo"


def fingerprint(config, workdir):
    """Threshold and presence that masks are made with, of all that the section `evaluate` holds."""
    return calibration_of(config, workdir)


def compare(ask, predictor, samples, tolerance, names=None):
    """Asks the signatures and compares all that they answer.

    Args:
        ask: function of a signature's name and a dict of arrays that gives a dict of arrays.
        predictor: `Predictor` on the model that was exported.
        samples: list of `(image_bytes, expressions)`.
        tolerance: `lts_keras.prediction.compare.Tolerance`.
        names: of the signatures to ask; all if `None`.

    Returns:
        Dict for the log, as `compare_signatures` reports, and `median_ms` of a photo with all its expressions.

    Raises:
        StageError: an answer differs, naming the first ones.
    """
    from lts_keras.prediction.signatures import SIGNATURES, compare_signatures

    times = []

    def timed(name, inputs):
        started = time.monotonic()
        answer = ask(name, inputs)
        if name == "segment_expressions":
            times.append(time.monotonic() - started)
        return answer

    report, differences = compare_signatures(timed, predictor, samples, tolerance, names or SIGNATURES)
    if differences:
        more = f" and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        raise StageError(f"not as the Keras model: {'; '.join(differences[:_SHOWN])}{more}")
    return report | {"median_ms": 1000 * float(np.median(times))}


def ask_rest(port):
    """Returns a function as `compare` takes it that asks a server of this machine over HTTP."""
    # Never through a proxy, which could not reach this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(name, inputs):
        body = {"signature_name": name, "inputs": {key: _json_values(value) for key, value in inputs.items()}}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/models/lts:predict",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with opener.open(request, timeout=_SECONDS) as response:
                outputs = json.load(response)["outputs"]
        except urllib.error.HTTPError as error:
            raise StageError(f"REST, {name}: HTTP {error.code}: {error.read().decode(errors='replace')}") from None
        except (OSError, ValueError, KeyError) as error:
            raise StageError(f"REST, {name}: no answer: {error}") from error
        return {key: _array(key, value) for key, value in outputs.items()}

    return ask


def _json_values(array):
    if array.dtype != object:
        return array.tolist()
    return [{"b64": base64.b64encode(value).decode()} for value in array.tolist()]


def _array(name, values):
    if not name.endswith("_bytes"):
        return np.asarray(values)
    return np.array([base64.b64decode(value["b64"]) for value in values], dtype=object)
