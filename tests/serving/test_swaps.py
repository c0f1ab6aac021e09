"""Two thousand requests while versions come, break and go, and the server is started anew beneath its clients."""

import base64
import contextlib
import http.client
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from serving.client import Client, Retries
from tests.conftest import ROOT
from tests.processes import started
from tests.serving.ports import free_ports
from tests.small_models import photo_bytes

REQUESTS = 2000
SENTENCE = "the left dog"
PATIENT = Retries(attempts=400, first_seconds=0.1, longest_seconds=0.5)


def publish(folder, base, version, spoil=None):
    """A whole version written aside and renamed; `spoil` breaks it before."""
    aside = base / f".{version}"
    shutil.copytree(folder, aside)
    if spoil:
        spoil(aside)
    os.rename(aside, base / str(version))


def cut_graph(folder):
    content = (folder / "saved_model.pb").read_bytes()
    (folder / "saved_model.pb").write_bytes(content[: len(content) // 2])


def take_weights(folder):
    shutil.rmtree(folder / "variables")


@contextlib.contextmanager
def server_process(base, port, rest_port):
    command = [sys.executable, "-m", "serving", "server", f"--port={port}", f"--rest_api_port={rest_port}"]
    command += ["--model_name=lts", f"--model_base_path={base}", "--file_system_poll_wait_seconds=0.1"]
    # Warmed up, each version would take half a minute here; that is tested elsewhere.
    command += [
        "--enable_model_warmup=false",
        "--rest_api_timeout_in_ms=150000",
        "--shutdown_grace_seconds=20",
        "--load_retry_interval_micros=100000",
        "--max_num_load_retries=1",
    ]
    with started(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        lines = []
        reading = threading.Thread(target=lambda: lines.extend(process.stderr), daemon=True)
        reading.start()
        with Client(f"127.0.0.1:{port}") as client:
            client.wait_until_ready(timeout=180)
        yield process, lines


def state_of(client, version, wanted, timeout=60):
    """Waits until a version has one of these states; returns what the server says of it."""
    until = time.monotonic() + timeout
    while True:
        entry = client.status().get(version)
        if entry is not None and entry.State.Name(entry.state) in wanted:
            return entry
        assert time.monotonic() < until, f"version {version}: {entry}"
        time.sleep(0.05)


class Clients:
    """Threads that ask the whole time, over gRPC and over REST, and keep every answer."""

    def __init__(self, port, rest_port):
        self.photo = photo_bytes()
        self.answers, self.failures = [], []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask_grpc, args=(port,)) for _ in range(3)]
        self._threads += [threading.Thread(target=self._ask_rest, args=(rest_port,)) for _ in range(3)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=60)

    def wait_for(self, count, timeout=240):
        until = time.monotonic() + timeout
        while len(self.answers) < count and not self.failures and time.monotonic() < until:
            time.sleep(0.02)
        assert not self.failures, self.failures[:3]
        assert len(self.answers) >= count

    def _ask_grpc(self, port):
        with Client(f"127.0.0.1:{port}", timeout=150, retries=PATIENT) as client:
            while not self._stop.is_set():
                try:
                    answer = client.segment(self.photo, [SENTENCE])[0]
                except Exception as error:
                    self.failures.append(("gRPC", repr(error)))
                    return
                self.answers.append(("gRPC", answer.version, answer.mask))

    def _ask_rest(self, port):
        body = {"image_bytes": {"b64": base64.b64encode(self.photo).decode()}, "expression": SENTENCE}
        body = json.dumps({"instances": [body]})
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=150)
        while not self._stop.is_set():
            try:
                connection.request("POST", "/v1/models/lts:predict", body, {"Content-Type": "application/json"})
            except ConnectionError:
                # Nothing was taken: the server is away between two starts. An answer that breaks off is a failure.
                connection.close()
                time.sleep(0.1)
                continue
            try:
                response = connection.getresponse()
                content = response.read()
            except http.client.RemoteDisconnected:
                # An idle connection that the server has closed, as HTTP allows: the request was not taken.
                connection.close()
                continue
            except Exception as error:
                self.failures.append(("REST", repr(error)))
                return
            if response.status != 200:
                self.failures.append(("REST", response.status, content[:300]))
                return
            row = json.loads(content)["predictions"][0]
            png = base64.b64decode(row["mask_png_bytes"]["b64"])
            self.answers.append(("REST", None, np.asarray(Image.open(io.BytesIO(png))) > 0))
        connection.close()


@pytest.mark.slow
def test_no_request_fails_over_five_swaps_two_bad_versions_and_a_restart(saved_models, tmp_path):
    base = tmp_path / "served"
    base.mkdir()
    models = {number: (saved_models.first, saved_models.second)[number % 2] for number in range(1, 10)}
    expected = {
        name: model.predictor(photo_bytes(), SENTENCE).mask
        for name, model in (("first", saved_models.first), ("second", saved_models.second))
    }
    assert (expected["first"] != expected["second"]).any()
    publish(models[1].folder, base, 1)
    port, rest_port = free_ports(2)
    swaps, bad = [2, 3, 5, 6, 8], {4: cut_graph, 7: take_weights}
    with server_process(base, port, rest_port) as (process, _), Clients(port, rest_port) as clients:
        with Client(f"127.0.0.1:{port}", retries=PATIENT) as client:
            for number, version in enumerate(range(2, 8), start=1):
                publish(models[version].folder, base, version, spoil=bad.get(version))
                entry = state_of(client, version, ("END",) if version in bad else ("AVAILABLE",))
                assert bool(entry.status.error_message) == (version in bad)
                clients.wait_for(number * REQUESTS // 10)
            # The newest is broken now; the process ends and another begins on the same folder and ports.
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=40) == 0
            with server_process(base, port, rest_port):
                entry = state_of(client, 6, ("AVAILABLE",))
                before = len(clients.answers)
                clients.wait_for(before + REQUESTS // 10)
                publish(models[8].folder, base, 8)
                state_of(client, 8, ("AVAILABLE",))
                clients.wait_for(max(REQUESTS, len(clients.answers) + REQUESTS // 10))
                clients.__exit__()
    assert not clients.failures
    versions = {version for way, version, _ in clients.answers if way == "gRPC"}
    assert versions <= {1, *swaps}
    assert {6, 8} <= versions
    for way, version, mask in clients.answers:
        known = [expected["first"], expected["second"]]
        if version is not None:
            known = [expected["second" if version % 2 else "first"]]
        assert any(np.array_equal(mask, one) for one in known), (way, version)
    for way in ("gRPC", "REST"):
        assert sum(answer[0] == way for answer in clients.answers) > REQUESTS // 10
