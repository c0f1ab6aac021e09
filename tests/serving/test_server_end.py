"""The server as users start it, in a process of its own: SIGTERM cuts nobody, and the process is out in time."""

import contextlib
import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.client import Client
from serving.errors import ServingError
from tests.conftest import ROOT
from tests.processes import started
from tests.serving.core.model_folders import publish, wait_for
from tests.serving.ports import free_ports
from tests.serving.slow_model import write_slow

CLIENTS = 32
SECONDS = 0.4  # of one answer


@contextlib.contextmanager
def server_process(*flags):
    """Yields the process, and the lines of its log as they come; `--port` 0 and loopback unless flags say otherwise."""
    command = [sys.executable, "-m", "serving", "server", "--host=127.0.0.1", "--port=0", *map(str, flags)]
    with started(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        lines = []
        reading = threading.Thread(target=lambda: lines.extend(iter(process.stderr.readline, "")), daemon=True)
        reading.start()
        yield process, lines
        process.kill()
        reading.join()


def port_of(process, lines):
    """The gRPC port, once the server is open."""

    def find():
        assert process.poll() is None, "".join(lines)
        return re.search(r"Running gRPC ModelServer at 127\.0\.0\.1:(\d+) \.\.\.", "".join(lines))

    return int(wait_for(find, 90)[1])


class Crowd:
    """Clients that ask one thing after the other until they are told to leave; half of them over HTTP."""

    def __init__(self, port, rest_port):
        self.leave = threading.Event()
        self.begun, self.failures = [], []
        asks = [lambda: self._ask_grpc(port)] * (CLIENTS // 2) + [lambda: self._ask_rest(rest_port)] * (CLIENTS // 2)
        self.threads = [threading.Thread(target=ask) for ask in asks]
        for thread in self.threads:
            thread.start()

    def _repeat(self, ask):
        while not self.leave.is_set():
            begun = time.monotonic()
            try:
                assert ask() == 3.0
                self.begun.append(begun)
            except Exception as error:
                self.failures.append(f"{time.monotonic() - begun:.2f} s: {error!r}")
                return

    def _ask_grpc(self, port):
        x = np.array([2.0], np.float32)
        with Client(f"127.0.0.1:{port}", model_name="slow", timeout=30, retries=None) as client:
            self._repeat(lambda: client.predict({"x": x})[0]["y"][0])

    def _ask_rest(self, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

        def ask():
            connection.request("POST", "/v1/models/slow:predict", json.dumps({"instances": [2.0]}))
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status == 200, content
            return json.loads(content)["predictions"][0]

        with contextlib.closing(connection):
            self._repeat(ask)


def test_sigterm_under_32_clients_cuts_none(tmp_path):
    write_slow(tmp_path / "slow" / "1", SECONDS)
    (rest_port,) = free_ports(1)
    flags = (f"--rest_api_port={rest_port}", "--model_name=slow", f"--model_base_path={tmp_path / 'slow'}")
    with server_process(*flags, "--shutdown_grace_seconds=12", "--max_rows_running=64") as (process, lines):
        port = port_of(process, lines)
        crowd = Crowd(port, rest_port)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
            wait_for(lambda: len(crowd.begun) >= CLIENTS, 60)
            ended = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
            # A balancer needs a moment to read that; what comes meanwhile is answered, over both transports.
            wait_for(lambda: sum(begun > ended for begun in crowd.begun) >= CLIENTS, 10)
            crowd.leave.set()
            for thread in crowd.threads:
                thread.join(30)
        assert crowd.failures == []
        assert process.wait(15) == 0
        assert time.monotonic() - ended < 13
        assert "Stopped" in "".join(lines)


def test_sigterm_does_not_wait_longer_than_the_grace(tmp_path):
    write_slow(tmp_path / "slow" / "1", 60)
    flags = ("--model_name=slow", f"--model_base_path={tmp_path / 'slow'}", "--shutdown_grace_seconds=2")
    with server_process(*flags) as (process, lines):
        port, codes = port_of(process, lines), []

        def run():
            with Client(f"127.0.0.1:{port}", model_name="slow", timeout=60, retries=None) as client:
                try:
                    client.predict({"x": np.array([2.0], np.float32)})
                except ServingError as error:
                    codes.append(error.code)

        running = threading.Thread(target=run)
        running.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            next(watch)
            process.send_signal(signal.SIGTERM)
            sent = time.monotonic()
            assert process.wait(20) == 0
            assert time.monotonic() - sent < 5
        running.join()
        assert codes[0] in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


def test_sigterm_in_the_middle_of_the_first_load_ends_it(tmp_path):
    write_slow(tmp_path / "slow" / "1", 30, warm_up_requests=2)
    with server_process("--model_name=slow", f"--model_base_path={tmp_path / 'slow'}") as (process, lines):
        wait_for(lambda: "Loading slow version 1" in "".join(lines), 90)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert "Running gRPC ModelServer" not in "".join(lines)


def test_a_killed_server_starts_again_on_its_port(tmp_path, half_plus_two):
    (tmp_path / "m").mkdir()
    publish(half_plus_two, tmp_path / "m", 1)
    flags = ("--model_name=m", f"--model_base_path={tmp_path / 'm'}")
    x = {"x": np.array([2.0], np.float32)}
    with server_process(*flags) as (process, lines):
        port = port_of(process, lines)
        with Client(f"127.0.0.1:{port}", model_name="m", timeout=30, retries=None) as client:
            assert client.predict(x)[0]["y"][0] == 3.0
            process.kill()
            process.wait()
            with pytest.raises(ServingError, match="cannot be reached"):
                client.predict(x)
            with server_process(*flags, f"--port={port}") as (again, new_lines):
                assert port_of(again, new_lines) == port
                client.wait_until_ready(30)
                assert client.predict(x)[0]["y"][0] == 3.0
                again.send_signal(signal.SIGINT)
                assert again.wait(40) == 0
