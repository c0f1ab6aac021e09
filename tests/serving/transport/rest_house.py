"""A REST server without the rest of a process, and clients that speak HTTP byte by byte."""

import contextlib
import json
import socket
import threading
import time
import types
from pathlib import Path

from serving.api.context import ServingContext, run_servable
from serving.core.events import Events, RequestEnded
from serving.core.limits import Admission, Limits
from serving.core.manager import Manager
from serving.core.settings import ModelSettings
from serving.options import ServerOptions
from serving.transport.rest import RestServer

__all__ = ["ANSWER", "GOOD", "URL", "Gate", "Wire", "open_rest_house", "request_bytes", "until"]

URL = "/v1/models/half:predict"
GOOD = {"instances": [2.0, 3.0]}
ANSWER = {"predictions": [3.0, 3.5]}
"""A request of half_plus_two that is answered, whatever came before it."""


@contextlib.contextmanager
def open_rest_house(models, limits=None, run=run_servable, metrics=None, **options):
    """Serves models over REST while the block runs.

    Args:
        models: dict from a model's name to its folder of versions, or to `ModelSettings`.
        limits: `Limits`.
        run: callable like `run_servable` that runs a model for a request.
        metrics: what has a `page()`.
        options: fields of `ServerOptions`.

    Yields:
        Namespace with `rest`, `port`, `context`, `admission`, `call` and `ended`, the `RequestEnded` events so far.
    """
    fields = {"enable_model_warmup": False, "poll_seconds": 0.0, "host": "127.0.0.1", "rest_port": 0}
    fields["rest_timeout_seconds"] = 0.0  # a busy machine is no failure
    options = ServerOptions(**fields | options)
    settings = {name: to if isinstance(to, ModelSettings) else ModelSettings(Path(to)) for name, to in models.items()}
    events, ended = Events(), []
    events.subscribe(lambda event: ended.append(event) if isinstance(event, RequestEnded) else None)
    admission = Admission(limits or Limits())
    manager = Manager(settings, options, events)
    context = ServingContext(manager, admission, events, options, run=run)
    rest = RestServer(context, options, metrics)
    manager.refresh()
    rest.start()

    def call(path, body=None, method=None, **headers):
        with Wire(rest.port) as wire:
            return wire.call(path, body, method, **headers)

    try:
        yield types.SimpleNamespace(
            rest=rest, port=rest.port, context=context, admission=admission, manager=manager, ended=ended, call=call
        )
    finally:
        rest.stop()
        manager.close()


def request_bytes(path, body=None, method=None, **headers):
    """A request of HTTP/1.1; `body` is bytes, or what JSON can say; a name's underscores stand for hyphens."""
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{method or ('GET' if content is None else 'POST')} {path} HTTP/1.1", "Host: here"]
    if content is not None and "transfer_encoding" not in headers:
        lines.append(f"Content-Length: {len(content)}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (content or b"")


class Wire:
    """One connection."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self._file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._file.close()
        self.socket.close()

    def send(self, content):
        self.socket.sendall(content)

    def call(self, path, body=None, method=None, **headers):
        self.send(request_bytes(path, body, method, **headers))
        return self.answer(has_body=method != "HEAD")

    def answer(self, has_body=True):
        """Reads one answer.

        Returns:
            Namespace with `code`, `headers` (names in small letters), `content` and `json`; `None` at the end.
        """
        line = self._file.readline()
        if not line:
            return None
        code, headers = int(line.split()[1]), {}
        while (line := self._file.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        content = self._file.read(int(headers.get("content-length", 0))) if has_body else b""
        answer = types.SimpleNamespace(code=code, headers=headers, content=content, json=None)
        if headers.get("content-type") == "application/json" and "content-encoding" not in headers and content:
            answer.json = json.loads(content)
        return answer


class Gate:
    """Runs a model once it is opened, and counts who came to it."""

    def __init__(self):
        self.opened = threading.Event()
        self.came = 0

    def __call__(self, *arguments, **keywords):
        self.came += 1
        assert self.opened.wait(60)
        return run_servable(*arguments, **keywords)


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
