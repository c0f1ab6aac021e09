"""A pod of the Deployment on this machine: its folders, files and flags, on free ports of the loopback address."""

import contextlib
import json
import os
import shutil
import socket
import time
import urllib.error
import urllib.request

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.client import Client
from serving.commands.server import make_options
from serving.errors import ServingError
from serving.parsing import parse_flags
from serving.server import Server
from tests.serving.deploy.reading import KUBERNETES, load_all, load_yaml
from tests.serving.ports import free_ports

BASE, COMPONENTS = KUBERNETES / "base", KUBERNETES / "components"
(DEPLOYMENT,) = load_all(BASE / "deployment.yaml")
(CONTAINER,) = DEPLOYMENT["spec"]["template"]["spec"]["containers"]
OPEN = urllib.request.build_opener(urllib.request.ProxyHandler({})).open  # loopback goes through no proxy


class Pod:
    """The folders that a pod mounts, and its flags on free ports."""

    def __init__(self, folder, patches=()):
        self.folder = folder
        for name in ("models/lts", "etc/lts/models", "etc/lts/server", "etc/lts/tls", "tmp"):
            (folder / name).mkdir(parents=True)
        self.configure(BASE / "config" / "models.config")
        shutil.copy(BASE / "config" / "monitoring.config", folder / "etc/lts/server")
        self.grpc, self.rest = free_ports(2)
        words = [*CONTAINER["args"]]
        for patch in patches:
            words += [operation["value"] for operation in load_yaml(patch)]
        self.words = [self.moved(word) for word in words]
        self.ports = {"grpc": self.grpc, "rest": self.rest, 8500: self.grpc, 8501: self.rest}

    def moved(self, text):
        """A text of the pod with this machine's paths and ports."""
        for inside in ("/etc/lts/", "/models/lts"):
            text = text.replace(inside, f"{self.folder}{inside}")
        text = text.replace("--port=8500", f"--port={self.grpc}").replace(
            "--rest_api_port=8501", f"--rest_api_port={self.rest}"
        )
        return text.replace("poll_wait_seconds=30", "poll_wait_seconds=1") if hasattr(self, "grpc") else text

    def configure(self, path):
        """Changes models.config as a changed ConfigMap does: a link to a new folder takes the old one's place."""
        mount = self.folder / "etc/lts/models"
        new = mount / f"..{time.monotonic_ns()}"
        new.mkdir()
        text = path.read_text() if hasattr(path, "read_text") else path
        (new / "models.config").write_text(text.replace("/models/lts", f"{self.folder}/models/lts"))
        (mount / "..data_tmp").symlink_to(new.name)
        os.rename(mount / "..data_tmp", mount / "..data")
        if not (mount / "models.config").exists():
            (mount / "models.config").symlink_to("..data/models.config")

    def publish(self, number, model):
        """As the page says: aside, then renamed."""
        aside = self.folder / f"models/lts/.copying-{number}"
        shutil.copytree(model, aside)
        os.rename(aside, self.folder / f"models/lts/{number}")

    @contextlib.contextmanager
    def running(self, *words):
        """A server with the pod's flags, and with others in `words`, while the block runs."""
        faster = ["--host=127.0.0.1", "--file_system_poll_wait_seconds=0.1"]
        values, given = parse_flags([*self.words, *faster, *words])
        settings, options = make_options(values, given)
        with Server(settings, options) as server:
            yield server

    def passes(self, probe):
        """What the kubelet would make of a probe of the Deployment."""
        if "grpc" in probe:
            with grpc.insecure_channel(f"127.0.0.1:{self.ports[probe['grpc']['port']]}") as channel:
                try:
                    request = health_pb2.HealthCheckRequest(service=probe["grpc"].get("service", ""))
                    return health_pb2_grpc.HealthStub(channel).Check(request, timeout=5).status == 1
                except grpc.RpcError:
                    return False
        if "tcpSocket" in probe:
            with socket.socket() as asking:
                return asking.connect_ex(("127.0.0.1", self.ports[probe["tcpSocket"]["port"]])) == 0
        try:
            return 200 <= self.get(probe["httpGet"]["path"])[0] < 400
        except urllib.error.HTTPError:
            return False

    def get(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        with OPEN(urllib.request.Request(f"http://127.0.0.1:{self.rest}{path}", data), timeout=20) as answer:
            return answer.status, answer.read().decode()

    def answers(self, label):
        """y for x = 4 from the version of a label, over gRPC and over REST; `None` while there is no such label."""
        with Client(f"127.0.0.1:{self.grpc}", version_label=label, timeout=20) as client:
            try:
                outputs, _ = client.predict({"x": np.array([[4.0]], np.float32)}, "serving_default")
            except ServingError:
                return None
        try:
            _, text = self.get(f"/v1/models/lts/labels/{label}:predict", {"inputs": {"x": [[4.0]]}})
        except urllib.error.HTTPError as error:  # it has gone between the two questions
            if error.code != 400:
                raise
            return None
        return float(outputs["y"].ravel()[0]), np.ravel(json.loads(text)["outputs"])[0]


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "waited for 30 s"
        time.sleep(0.05)
