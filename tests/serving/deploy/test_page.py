"""docs/deploy.md: its commands run where they can, and what it names is there."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from serving.config_files import read_ssl
from serving.errors import StartError
from serving.flags import FLAGS
from serving.parsing import parse_flags
from tests.conftest import ROOT
from tests.serving.deploy.pods import COMPONENTS, Pod, wait_for
from tests.serving.deploy.reading import DEPLOY, MONITORING, load_yaml
from tests.small_models import photo_bytes

PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
SHELL = [text for language, text in BLOCKS if language == "sh"]
NOT_RUN = [text for text in SHELL if text.startswith("# not run here")]


@pytest.fixture
def checkout(tmp_path):
    """A folder with what the page's commands find in a checkout, and where they may write."""
    folder = tmp_path / "checkout"
    (folder / "site").mkdir(parents=True)
    for name in ("serving", "pipelines", "lts_keras"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "photo.jpg").write_bytes(photo_bytes())
    return folder


def run(text, folder, pod=None):
    tools = re.findall(r"^\s*(?:\w+=\S+ )*([a-z]+)", re.sub(r"\\\n", " ", text), re.MULTILINE)
    for tool in set(tools) - {"python", "cp", "mv", "mkdir", "echo"}:
        if not shutil.which(tool):
            pytest.skip(f"no {tool} here")
    if pod:
        text = text.replace("localhost:8500", f"127.0.0.1:{pod.grpc}").replace(
            "localhost:8501", f"127.0.0.1:{pod.rest}"
        )
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    words = ["bash", "-euo", "pipefail", "-c", text]
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "PATH": path, "no_proxy": "*"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{text}\n{done.stderr}"
    return done.stdout


def block(*words):
    """The one block that runs here and has these words."""
    (found,) = [text for text in SHELL if text not in NOT_RUN and all(word in text for word in words)]
    return found


def test_every_block_that_can_run_is_run_by_a_test_below():
    here = [
        "mv runs/mine",
        "grep request_count",
        "kubectl kustomize",
        "labels/canary",
        "rollback",
        "openssl",
        "promtool",
    ]
    assert {block(words) for words in here} == set(SHELL) - set(NOT_RUN)
    for text in NOT_RUN:  # each needs what is not here
        assert re.search(r"\b(docker|kubectl -n|kubectl apply|lts\.lts\.svc)\b", text), text


def test_versions_are_published_asked_and_compared(checkout, saved_models, tmp_path):
    shutil.copytree(saved_models.first.folder, checkout / "runs/mine/export/saved_model")
    run(block("mv runs/mine"), checkout)
    pod = Pod(tmp_path / "pod")
    pod.publish(1, checkout / "runs/mine/serving/1")
    with pod.running("--enable_model_warmup=false"):
        text = run(block("grep request_count"), checkout, pod)
        assert '"AVAILABLE"' in text and "request_count" in text
        pod.publish(2, saved_models.second.folder)
        pod.configure(COMPONENTS / "canary" / "models.config")
        wait_for(lambda: pod.passes({"httpGet": {"path": "/v1/models/lts/labels/canary/metadata"}}))
        run(block("labels/canary"), checkout, pod)
    assert (checkout / "overlay.png").stat().st_size and (checkout / "canary.png").stat().st_size


def test_an_older_version_is_published_again(checkout):
    for version in ("1", "2"):
        (checkout / "runs/mine/serving" / version).mkdir(parents=True)
        (checkout / "runs/mine/serving" / version / "saved_model.pb").write_text(version)
    run(block("rollback"), checkout)
    assert (checkout / "runs/mine/serving/3/saved_model.pb").read_text() == "1"


def test_a_site_of_ones_own_renders_with_and_without_tls(checkout):
    site, tls = [text for language, text in BLOCKS if language == "yaml"]
    for text in (site, site + tls):
        (checkout / "serving").unlink()
        shutil.copytree(DEPLOY, checkout / "serving" / "deploy")
        (checkout / "site/kustomization.yaml").write_text(text)
        objects = list(yaml.safe_load_all(run(block("kubectl kustomize"), checkout)))
        (pod,) = [o["spec"]["template"]["spec"] for o in objects if o["kind"] == "Deployment"]
        assert pod["containers"][0]["image"] == "registry.example.com/lts-serving:0.1.0"
        _, given = parse_flags(pod["containers"][0]["args"])
        assert ("ssl_config_file" in given) == (text != site)
        (models,) = [o["data"] for o in objects if o["metadata"]["name"] == "lts-models" and "data" in o]
        assert models["models.config"] == (checkout / "site/models.config").read_text()
        shutil.rmtree(checkout / "serving")
        (checkout / "serving").symlink_to(ROOT / "serving")


def test_certificates_and_their_file_are_what_a_server_takes(checkout, monkeypatch):
    run(block("openssl"), checkout)
    monkeypatch.chdir(checkout)
    (code,) = [text for language, text in BLOCKS if language == "python"]
    exec(code, {})
    config = read_ssl(checkout / "ssl.config")
    assert config.server_cert == (checkout / "server.pem").read_text()
    names = run("openssl x509 -in server.pem -noout -ext subjectAltName", checkout)
    assert "DNS:lts.lts.svc" in names and "DNS:lts-pods.lts.svc" in names
    shutil.copy(checkout / "ca.key", checkout / "server.key")
    exec(code, {})
    with pytest.raises(StartError, match="no PEM pair"):
        read_ssl(checkout / "ssl.config")


def test_the_rules_are_checked_as_shown(checkout):
    assert "SUCCESS" in run(block("promtool"), checkout)


def test_files_that_the_page_names_are_there_and_all_are_told():
    for path in re.findall(r"(?<![\w/.])(?:\.\./)?(serving/deploy/[\w./-]*\w)", PAGE):
        assert (ROOT / path).exists(), path
    for name in re.findall(r"`((?:overlays|components)/\w+)`", PAGE):
        assert (DEPLOY / "kubernetes" / name).is_dir(), name
    table = PAGE[PAGE.index("| in `serving/deploy/`") : PAGE.index("`.dockerignore`")]
    for path in [*DEPLOY.iterdir(), *(DEPLOY / "kubernetes").iterdir()]:
        assert path.name in table, path
    for link in re.findall(r"\]\(([\w.-]+\.md)\)", PAGE):
        assert (ROOT / "docs" / link).exists()


def test_flags_alerts_metrics_and_labels_of_the_page_are_those_of_the_files():
    for name in re.findall(r"`--([a-z_]+)", PAGE):
        if name not in ("build", "version_label"):  # docker's and the client's
            assert name in FLAGS, name
    alerts = {rule["alert"] for group in load_yaml(MONITORING / "alerts.yml")["groups"] for rule in group["rules"]}
    assert set(re.findall(r"`(Lts\w+)`", PAGE)) == alerts
    offered = {rule["name"]["as"] for rule in load_yaml(MONITORING / "prometheus-adapter.yaml")["rules"]["custom"]}
    assert offered <= set(re.findall(r"`(\w+)`", PAGE))
    (deployment,) = [load_yaml(DEPLOY / "kubernetes" / "overlays" / "embedded" / "server.yaml")]
    assert f"waits {deployment['spec']['template']['spec']['terminationGracePeriodSeconds']} s" in PAGE
