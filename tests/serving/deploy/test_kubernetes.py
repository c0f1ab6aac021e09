"""The kustomizations: schemas, and that every name, port, path and flag fits its counterpart."""

import json
import re

import pytest
import yaml

from serving.flags import FLAGS
from serving.parsing import parse_flags
from tests.serving.deploy.reading import (
    COMPONENTS,
    KUBERNETES,
    OVERLAYS,
    find,
    flags_of,
    load_all,
    load_yaml,
    render,
    server_container,
)
from tests.serving.deploy.schema import problems

COMBINATIONS = [(), ("tls",), COMPONENTS]
overlays = pytest.mark.parametrize("overlay", OVERLAYS)
combinations = pytest.mark.parametrize("components", COMBINATIONS, ids=lambda names: "+".join(names) or "plain")
KUSTOMIZATIONS = sorted(KUBERNETES.rglob("kustomization.yaml"))


def documents():
    """Path and object of everything that is an object or a patch in the form of one."""
    for path in sorted(KUBERNETES.rglob("*.yaml")):
        if path.name != "kustomization.yaml":
            yield from ((path, document) for document in load_all(path) if isinstance(document, dict))


def test_every_field_is_known_and_nothing_is_missing():
    found = {}
    for path, document in documents():
        wrong = problems(document, partial=path.parent.parent.name in ("overlays", "components"))
        if wrong:
            found[str(path)] = wrong
    assert not found


@pytest.mark.parametrize(
    "change",
    (
        lambda spec: spec["template"]["spec"].update(terminationGracePeriod=3),
        lambda spec: spec["template"]["spec"]["containers"][0].pop("name"),
        lambda spec: spec["template"]["spec"]["containers"][0]["resources"]["requests"].update(cpu=4),
        lambda spec: spec["template"]["spec"]["containers"][0]["startupProbe"].update(periodSeconds="5"),
        lambda spec: spec["template"]["spec"]["containers"][0].update(args="--port=8500"),
    ),
)
def test_the_check_of_fields_finds(change):
    deployment = load_yaml(KUBERNETES / "base" / "deployment.yaml")
    assert not problems(deployment)
    change(deployment["spec"])
    assert len(problems(deployment)) == 1


def test_kustomizations_name_files_that_are_there_and_all_of_them():
    named = set()
    for path in KUSTOMIZATIONS:
        folder, document = path.parent, load_yaml(path)
        paths = [*document.get("resources", ()), *(patch["path"] for patch in document.get("patches", ()))]
        for generator in document.get("configMapGenerator", ()):
            paths += generator["files"]
        for entry in paths:
            target = (folder / entry).resolve()
            assert target.exists(), f"{path}: {entry}"
            named.add(target / "kustomization.yaml" if target.is_dir() else target)
    tops = {path for path in KUSTOMIZATIONS if path.parent.parent.name in ("overlays", "components")}
    alone = {KUBERNETES / "loader.yaml"}  # the page about deployment applies it by itself
    assert named | tops | alone == {path for path in KUBERNETES.rglob("*") if path.is_file()}


@overlays
@combinations
def test_what_is_sent_is_valid(overlay, components):
    objects = render(overlay, components)
    assert not [problem for document in objects for problem in problems(document)]
    assert all(o["kind"] == "Namespace" or o["metadata"].get("namespace") == "lts" for o in objects)


@overlays
@combinations
def test_flags_are_known_and_their_files_mounted(overlay, components):
    objects = render(overlay, components)
    container, pod = server_container(objects), find(objects, "Deployment")["spec"]["template"]["spec"]
    flags = flags_of(container["args"])
    values, given = parse_flags(container["args"])
    if overlay == "stock":
        assert not [flag for flag in given if FLAGS[flag].ours]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": values["port"], "rest": values["rest_api_port"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    folders = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
    assert len(folders) == len(volumes)
    for flag, value in flags.items():
        if not flag.endswith("_file"):
            continue
        folder, _, file = value.rpartition("/")
        if "secret" in folders[folder]:
            assert (folders[folder]["secret"]["secretName"], file) == ("lts-tls", "ssl.config")
        else:
            assert file in find(objects, "ConfigMap", folders[folder]["configMap"]["name"])["data"]
    claims = [v["persistentVolumeClaim"] for v in volumes.values() if "persistentVolumeClaim" in v]
    assert [find(objects, "PersistentVolumeClaim", claim["claimName"]) for claim in claims]


@overlays
@combinations
def test_selectors_find_the_pods_and_ports_are_the_containers(overlay, components):
    objects = render(overlay, components)
    deployment, container = find(objects, "Deployment"), server_container(objects)
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    services = [o for o in objects if o["kind"] == "Service"]
    selectors = [deployment["spec"]["selector"]["matchLabels"], *(s["spec"]["selector"] for s in services)]
    selectors.append(find(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"])
    policy = find(objects, "NetworkPolicy")["spec"]
    selectors.append(policy["podSelector"]["matchLabels"])
    for selector in selectors:
        assert selector and selector.items() <= labels
    assert {port["targetPort"] for s in services for port in s["spec"]["ports"]} <= set(ports)
    assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} == set(ports.values())
    # A client needs the one label that the file speaks of, and none of the server's.
    assert policy["ingress"][0]["from"][0]["podSelector"]["matchLabels"] == {"lts-client": "true"}
    target = find(objects, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    assert "replicas" not in deployment["spec"]  # the autoscaler's


@overlays
@combinations
def test_probes_ask_ports_that_are_open_and_wait_for_a_load(overlay, components):
    container = server_container(render(overlay, components))
    values, _ = parse_flags(container["args"])
    names = {port["name"] for port in container["ports"]}
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container[kind]
        (way,) = {"grpc", "httpGet", "tcpSocket"} & set(probe)
        assert probe[way]["port"] == values["port"] if way == "grpc" else probe[way]["port"] in names
        if way == "grpc":
            assert values["enable_grpc_healthcheck_service"] and not values["ssl_config_file"]
            assert not values["enable_profiler"]
    assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] >= 600


@overlays
def test_a_pod_ends_after_its_requests(overlay):
    objects = render(overlay)
    container, pod = server_container(objects), find(objects, "Deployment")["spec"]["template"]["spec"]
    program, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "sleep"
    values, given = parse_flags(container["args"])
    if overlay == "embedded":
        assert "shutdown_grace_seconds" in given
        assert pod["terminationGracePeriodSeconds"] > int(seconds) + values["shutdown_grace_seconds"]
    else:  # it does not answer SIGTERM: all of its time is the sleep
        assert 20 <= int(seconds) < pod["terminationGracePeriodSeconds"]


@overlays
@combinations
def test_pods_keep_to_the_restricted_standard(overlay, components):
    objects = render(overlay, components)
    assert find(objects, "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    restricted(find(objects, "Deployment")["spec"]["template"]["spec"])


def test_the_loader_keeps_to_the_restricted_standard():
    restricted(load_yaml(KUBERNETES / "loader.yaml")["spec"])


def restricted(pod):
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    for container in pod["containers"]:
        context = container["securityContext"]
        assert not context["allowPrivilegeEscalation"] and context["readOnlyRootFilesystem"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert re.search(r":\d+\.\d+\.\d+(-gpu)?$", container["image"]), container["image"]
    kinds = {key for volume in pod["volumes"] for key in volume} - {"name"}
    assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}


@overlays
def test_the_gpu_component_takes_a_gpu_and_its_image(overlay):
    container = server_container(render(overlay, ("gpu",)))
    assert container["image"].endswith("-gpu")
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"


@overlays
def test_with_tls_clients_reach_grpc_alone(overlay):
    objects = render(overlay, ("tls",))
    assert [port["name"] for port in find(objects, "Service")["spec"]["ports"]] == ["grpc"]
    clients, prometheus = find(objects, "NetworkPolicy")["spec"]["ingress"]
    assert [port["port"] for port in clients["ports"]] == [8500]
    assert [port["port"] for port in prometheus["ports"]] == [8501]


def test_a_label_moves_without_a_restart_and_other_settings_with_one():
    def names(objects):
        pod = find(objects, "Deployment")["spec"]["template"]["spec"]
        return {v["name"]: v["configMap"]["name"] for v in pod["volumes"] if "configMap" in v}

    plain, canary = render("embedded"), render("embedded", ("canary",))
    batching = render("embedded", ("batching",))
    assert names(plain)["models-config"] == names(canary)["models-config"] == "lts-models"
    assert find(plain, "ConfigMap", "lts-models")["data"] != find(canary, "ConfigMap", "lts-models")["data"]
    assert find(plain, "Deployment") == find(canary, "Deployment")
    assert names(plain)["server-config"] != names(batching)["server-config"]
    values, given = parse_flags(server_container(plain)["args"])
    assert values["model_config_file_poll_wait_seconds"] > 0
    assert "subPath" not in json.dumps(find(plain, "Deployment"))


def test_both_overlays_differ_in_what_the_servers_differ():
    """The same flags but for this server's own: a client cannot tell them apart."""
    stock, embedded = (server_container(render(overlay)) for overlay in OVERLAYS)
    own = {flag for flag in flags_of(embedded["args"]) if FLAGS[flag].ours}
    assert own == {"shutdown_grace_seconds"}
    assert set(embedded["args"]) - set(stock["args"]) == {"--shutdown_grace_seconds=30"}
    assert set(stock["args"]) <= set(embedded["args"])
    assert yaml.safe_dump(stock["resources"]) == yaml.safe_dump(embedded["resources"])
