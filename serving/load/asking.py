"""One request of a load test, over gRPC or REST: photos and sentences in turn, the status as a word."""

import base64
import http.client
import io
import json
import os
import ssl
import threading

import grpc
import numpy as np
from PIL import Image, ImageDraw

from serving.errors import ServingError, UsageError

__all__ = ["GrpcAsker", "Questions", "RestAsker", "draw_photo"]

OK = "OK"
SIGNATURE = "segment_expressions"


def draw_photo(seed, width=640, height=480):
    """Bytes of a JPEG with coloured shapes: something to ask about where there are no photos."""
    random = np.random.default_rng(seed)
    image = Image.effect_noise((width, height), 40).convert("RGB")
    draw = ImageDraw.Draw(image)
    for number in range(8):
        x, y = random.uniform(0, width), random.uniform(0, height)
        across, down = random.uniform(0.05, 0.3, 2) * min(width, height)
        shape = (draw.ellipse, draw.rectangle)[number % 2]
        shape((x - across, y - down, x + across, y + down), tuple(random.integers(0, 256, 3).tolist()))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


class Questions:
    """Photos and sentences, taken in turn.

    Args:
        photos: list of bytes.
        expressions: list of str.
        per_photo: int, sentences asked of a photo in one request.
        new_photos: bool. Whether each photo is told apart from those before by bytes behind its end, which no decoder
            reads: a server that keeps what it made of photos has met none of them.
    """

    def __init__(self, photos, expressions, per_photo=1, new_photos=False):
        self._photos, self._expressions, self.per_photo = photos, expressions, per_photo
        self._mark = os.urandom(8) if new_photos else None

    def __getitem__(self, index):
        first = index * self.per_photo
        chosen = [self._expressions[(first + k) % len(self._expressions)] for k in range(self.per_photo)]
        photo = self._photos[index % len(self._photos)]
        return photo if self._mark is None else photo + self._mark + index.to_bytes(8, signed=True), chosen


class GrpcAsker:
    """Asks over gRPC; all threads share one channel, as those of a real client do.

    Args:
        client: `Client`, without retries: each refusal is to be seen.
        questions: `Questions`.
    """

    def __init__(self, client, questions):
        self._client, self._questions = client, questions

    def __call__(self, index):
        """Asks the question of that number; returns the name of the status code."""
        try:
            self.check(index)
        except ServingError as error:
            return error.code.name
        return OK

    def check(self, index=-1):
        """Asks one question, by default one that is not measured; raises `ServingError`."""
        photo, expressions = self._questions[index]
        inputs = {"image_bytes": np.array([photo], object), "expression": np.array(expressions, object)}
        self._client.predict(inputs, SIGNATURE)

    def close(self):
        """Closes the channel."""
        self._client.close()


class RestAsker:
    """Asks over REST; each thread keeps a connection of its own. Nothing goes through a proxy.

    Args:
        target: str, `host:port`.
        model: str, the model's name, with `/versions/N` or `/labels/L` behind it where one is asked.
        questions: `Questions`.
        timeout: float, seconds of a request.
        context: `ssl.SSLContext` for HTTPS, or `None`.
    """

    def __init__(self, target, model, questions, timeout, context=None):
        host, _, port = target.rpartition(":")
        if not host or not port.isdigit():
            raise UsageError(f"--target must be HOST:PORT. Received: {target!r}")
        self._host, self._port, self._timeout, self._context = host.strip("[]"), int(port), timeout, context
        self._path, self._questions = f"/v1/models/{model}:predict", questions
        self._own, self._opened = threading.local(), []

    def __call__(self, index):
        """Asks the question of that number; returns `OK`, `HTTP 503`, `TIMEOUT` or `UNREACHABLE`."""
        try:
            status, _ = self._post(index)
        except TimeoutError:
            self._drop()
            return "TIMEOUT"
        except (OSError, http.client.HTTPException, ssl.SSLError):
            self._drop()
            return "UNREACHABLE"
        return OK if status == 200 else f"HTTP {status}"

    def check(self, index=-1):
        """Asks one question, by default one that is not measured; raises `ServingError`."""
        try:
            status, body = self._post(index)
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            raise ServingError(
                grpc.StatusCode.UNAVAILABLE, f"{self._host}:{self._port}: the server cannot be reached: {error}"
            ) from None
        if status != 200:
            raise ServingError(grpc.StatusCode.UNKNOWN, f"{self._host}:{self._port}: HTTP {status}: {body[:300]!r}")

    def close(self):
        """Closes all connections."""
        for connection in self._opened:
            connection.close()

    def _post(self, index):
        connection = getattr(self._own, "connection", None)
        if connection is None:
            if self._context is None:
                connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
            else:
                connection = http.client.HTTPSConnection(
                    self._host, self._port, timeout=self._timeout, context=self._context
                )
            self._own.connection = connection
            self._opened.append(connection)
        connection.request("POST", self._path, self._body(index), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()

    def _body(self, index):
        photo, expressions = self._questions[index]
        inputs = {"image_bytes": [{"b64": base64.b64encode(photo).decode("ascii")}], "expression": expressions}
        return json.dumps({"signature_name": SIGNATURE, "inputs": inputs})

    def _drop(self):
        self._own.connection.close()
        self._own.connection = None
