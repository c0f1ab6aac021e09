"""A server with the very flags and files of the Deployment, asked as Kubernetes, Docker and Prometheus ask it."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.client import Client, read_credentials
from serving.commands.server import make_options
from serving.errors import ServingError
from serving.parsing import parse_flags
from serving.server import Server
from tests.serving.certificates import make_certificates
from tests.serving.deploy.reading import DEPLOY, KUBERNETES, MONITORING, load_all, load_yaml, read_dockerfile
from tests.serving.other_models import write_half_plus_two
from tests.serving.ports import free_ports

BASE, COMPONENTS = KUBERNETES / "base", KUBERNETES / "components"
(DEPLOYMENT,) = load_all(BASE / "deployment.yaml")
(CONTAINER,) = DEPLOYMENT["spec"]["template"]["spec"]["containers"]
OPEN = urllib.request.build_opener(urllib.request.ProxyHandler({})).open  # loopback goes through no proxy


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Two versions: y = x / 2 + 2 and y = x / 2 + 3."""
    folder = tmp_path_factory.mktemp("versions")
    return {number: write_half_plus_two(folder / str(number), offset=number + 1.0) for number in (1, 2)}


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
    def running(self):
        values, given = parse_flags([*self.words, "--host=127.0.0.1", "--file_system_poll_wait_seconds=0.1"])
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
        _, text = self.get(f"/v1/models/lts/labels/{label}:predict", {"inputs": {"x": [[4.0]]}})
        return float(outputs["y"].ravel()[0]), np.ravel(json.loads(text)["outputs"])[0]


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "waited for 30 s"
        time.sleep(0.05)


def probes(*names):
    return [CONTAINER[f"{name}Probe"] for name in names or ("startup", "readiness", "liveness")]


def test_a_pod_becomes_ready_and_its_labels_move(versions, tmp_path):
    pod = Pod(tmp_path)
    pod.publish(1, versions[1])
    assert not any(pod.passes(probe) for probe in probes())
    with pod.running():
        assert all(pod.passes(probe) for probe in probes())
        assert pod.answers("stable") == (4.0, 4.0)
        plain = (BASE / "config" / "models.config").read_text()
        canary = (COMPONENTS / "canary" / "models.config").read_text()
        pod.publish(2, versions[2])
        for finish, after in ((plain, 4.0), (plain.replace(": 1", ": 2"), 5.0)):  # first back, then again and forward
            pod.configure(canary)
            wait_for(lambda: pod.answers("canary") == (5.0, 5.0))
            assert pod.answers("stable") == (4.0, 4.0)
            if after == 5.0:
                pod.configure(canary.replace('"stable" value: 1', '"stable" value: 2'))
                wait_for(lambda: pod.answers("stable") == (5.0, 5.0))
            pod.configure(finish)
            wait_for(lambda: pod.answers("canary") is None)
            assert pod.answers("stable") == (after, after)
        check_docker(pod, 0)
        check_prometheus(pod)
    assert not any(pod.passes(probe) for probe in probes())
    check_docker(pod, 1)


def check_docker(pod, code):
    """The HEALTHCHECK of the Dockerfile ends with this code."""
    (words,) = [words for kind, words in read_dockerfile(DEPLOY / "Dockerfile") if kind == "HEALTHCHECK"]
    program, *rest = [word for word in words if not word.startswith("--")]
    assert (program, rest[0]) == ("python", "-c")
    done = subprocess.run(
        [sys.executable, "-c", rest[1].replace(":8500", f":{pod.grpc}")], capture_output=True, timeout=60
    )
    assert done.returncode == code, done.stderr.decode()


def check_prometheus(pod):
    (job,) = load_yaml(MONITORING / "prometheus.yml")["scrape_configs"]
    status, page = pod.get(job["metrics_path"])
    assert status == 200
    assert ':tensorflow:serving:request_count{model_name="lts",status="OK"}' in page
    assert 'lts_serving_version_available{model_name="lts",version="2"} 1' in page


def test_a_pod_without_a_version_is_alive_and_not_ready(tmp_path):
    pod = Pod(tmp_path)
    (metadata,) = [patch["httpGet"]["path"] for patch in tls_probes()[:1]]
    with pod.running():
        startup, readiness, liveness = (pod.passes(probe) for probe in probes())
        assert (startup, readiness, liveness) == (False, False, True)
        assert not pod.passes({"httpGet": {"path": metadata}})


def tls_probes():
    (container,) = load_yaml(COMPONENTS / "tls" / "server.yaml")["spec"]["template"]["spec"]["containers"]
    return [{"httpGet": container[f"{name}Probe"]["httpGet"]} for name in ("startup", "readiness")]


def test_with_tls_probes_pass_and_clients_need_the_authority(versions, tmp_path):
    pod = Pod(tmp_path, patches=[COMPONENTS / "tls" / "flags.yaml"])
    pod.publish(1, versions[1])
    folder = tmp_path / "certificates"
    folder.mkdir()
    files = make_certificates(folder)
    pem = {"server_key": files.server_key, "server_cert": files.server}
    lines = [f"{field}: {json.dumps(path.read_text())}" for field, path in pem.items()]
    (tmp_path / "etc/lts/tls/ssl.config").write_text("\n".join(lines))
    with pod.running():
        assert all(pod.passes(probe) for probe in [*tls_probes(), *probes("liveness")])
        assert not pod.passes(CONTAINER["readinessProbe"])  # which is why the component replaces it
        with Client(f"localhost:{pod.grpc}", timeout=20, credentials=read_credentials(files.ca)) as client:
            outputs, _ = client.predict({"x": np.array([[4.0]], np.float32)}, "serving_default")
        assert outputs["y"].ravel()[0] == 4.0


def test_the_servers_own_batching_takes_its_file(versions, tmp_path):
    pod = Pod(tmp_path, patches=[COMPONENTS / "batching" / "flags.yaml"])
    pod.publish(1, versions[1])
    shutil.copy(COMPONENTS / "batching" / "batching.config", tmp_path / "etc/lts/server")
    with pod.running() as server:
        assert list(server.options.batching.allowed_batch_sizes) == [1, 2, 4, 8]
        assert pod.answers("stable") == (4.0, 4.0)
