"""A server with the very flags and files of the Deployment, asked as Kubernetes, Docker and Prometheus ask it."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from serving.client import Client, read_credentials
from tests.serving.certificates import make_certificates
from tests.serving.deploy.pods import BASE, COMPONENTS, CONTAINER, Pod, wait_for
from tests.serving.deploy.reading import DEPLOY, MONITORING, load_yaml, read_dockerfile
from tests.serving.other_models import write_half_plus_two


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Two versions: y = x / 2 + 2 and y = x / 2 + 3."""
    folder = tmp_path_factory.mktemp("versions")
    return {number: write_half_plus_two(folder / str(number), offset=number + 1.0) for number in (1, 2)}


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
