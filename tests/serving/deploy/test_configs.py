"""The servers' own text files, read as both servers read them."""

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.config_files import read_batching, read_metrics_path, read_models
from serving.wire.protos import BatchingParameters, ModelServerConfig, MonitoringConfig
from tests.serving.deploy.reading import DEPLOY, KUBERNETES, load_yaml, parse_text

PLAIN = KUBERNETES / "base" / "config" / "models.config"
CANARY = KUBERNETES / "components" / "canary" / "models.config"
MONITORING = KUBERNETES / "base" / "config" / "monitoring.config"
BATCHING = KUBERNETES / "components" / "batching" / "batching.config"
KINDS = {
    "models.config": ModelServerConfig,
    "monitoring.config": MonitoringConfig,
    "batching.config": BatchingParameters,
}
FILES = sorted(KUBERNETES.rglob("*.config"))


@pytest.mark.parametrize("path", FILES, ids=[f"{path.parent.name}-{path.name}" for path in FILES])
def test_messages_parse(path):
    assert parse_text(path, KINDS[path.name]()).ByteSize()


@pytest.mark.parametrize("path", (PLAIN, CANARY), ids=("plain", "canary"))
def test_models_are_read_by_both_and_labels_name_versions_that_are_served(path, tmp_path):
    theirs = text_format.Parse(path.read_text(), model_server_config_pb2.ModelServerConfig())
    (entry,) = theirs.model_config_list.config
    served = list(entry.model_version_policy.specific.versions)
    assert served and set(entry.version_labels.values()) <= set(served)
    assert (entry.name, entry.base_path) == ("lts", "/models/lts")
    moved = tmp_path / "models.config"
    moved.write_text(path.read_text().replace("/models/lts", str(tmp_path)))
    (settings,) = read_models(moved).values()
    assert list(settings.specific) == served
    assert dict(settings.labels) == dict(entry.version_labels)


def test_a_canary_comes_beside_what_is_stable():
    """A new label may name a version that is still loading, one that exists may not: so `stable` must not move here."""
    plain, canary = (parse_text(path, ModelServerConfig()).model_config_list.config[0] for path in (PLAIN, CANARY))
    before, after = dict(plain.version_labels), dict(canary.version_labels)
    assert set(before) == {"stable"} and set(after) == {"stable", "canary"}
    assert after["stable"] == before["stable"] != after["canary"]


def test_the_folder_of_the_models_is_mounted_in_both_ways_of_running():
    (container,) = load_yaml(KUBERNETES / "base" / "deployment.yaml")["spec"]["template"]["spec"]["containers"]
    mounts = {mount["mountPath"]: mount.get("readOnly") for mount in container["volumeMounts"]}
    assert mounts["/models/lts"] is True
    for name in ("embedded", "stock"):
        volumes = load_yaml(DEPLOY / "compose.yaml")["services"][name]["volumes"]
        assert any(volume.endswith(":/models/lts:ro") for volume in volumes)


def test_the_metrics_page_and_the_batching_are_read():
    assert read_metrics_path(MONITORING) == "/monitoring/prometheus/metrics"
    batching = read_batching(BATCHING)
    # TensorFlow Serving refuses to start otherwise.
    assert batching.allowed_batch_sizes[-1] == batching.max_batch_size.value
    assert list(batching.allowed_batch_sizes) == sorted(set(batching.allowed_batch_sizes))
