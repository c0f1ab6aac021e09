"""Prometheus, its alerts, the autoscalers' metrics and the dashboard against the metrics that the server writes."""

import json
import re
import shutil
import subprocess

import grpc
import pytest
import yaml

from serving.core.events import Draining, Events, FolderPassedOver, LookFailed, RequestEnded, VersionChanged
from serving.core.limits import Admission
from serving.core.manager import Manager
from serving.core.settings import ModelSettings
from serving.options import ServerOptions
from serving.parsing import parse_flags
from serving.transport.metrics import Metrics
from serving.wire.protos import MonitoringConfig
from tests.serving.deploy.promql import metrics_of
from tests.serving.deploy.reading import (
    DEPLOY,
    KUBERNETES,
    MONITORING,
    OVERLAYS,
    find,
    load_yaml,
    parse_text,
    render,
    server_container,
)

ALERTS = load_yaml(MONITORING / "alerts.yml")
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
TRIED = load_yaml(DEPLOY.parent.parent / "tests" / "serving" / "deploy" / "alerts.test.yml")["tests"]
DASHBOARD = json.loads((MONITORING / "grafana" / "dashboards" / "lts.json").read_text(encoding="utf-8"))
ADAPTER = load_yaml(MONITORING / "prometheus-adapter.yaml")["rules"]["custom"]
SCRAPES = [load_yaml(MONITORING / name) for name in ("prometheus.yml", "prometheus-kubernetes.yml")]

# Prometheus itself adds these to every series; the last two by prometheus-kubernetes.yml.
TARGET_LABELS = {"job", "instance", "namespace", "pod"}


@pytest.fixture(scope="module")
def exposed(tmp_path_factory):
    """dict from the name of each series on the server's page to its labels, after one event of each kind."""
    events, options = Events(), ServerOptions()
    manager = Manager({"lts": ModelSettings(tmp_path_factory.mktemp("models"))}, options, events)
    metrics = Metrics(events, manager, Admission())
    events.emit(VersionChanged("lts", 1, 30, seconds=2.0))
    events.emit(VersionChanged("lts", 2, 50, error_code=3, error_message="bad", seconds=1.0))
    events.emit(FolderPassedOver("lts", "v1", "no number"))
    events.emit(LookFailed("lts", "/models/lts", "no permission"))
    for method in ("Predict", "Classify"):
        events.emit(RequestEnded("lts", 1, "serving_default", method, "GRPC", grpc.StatusCode.OK, 0.1, rows=1))
    events.emit(Draining(30))
    series = {"up": set()}
    # Line by line: the client's own parser would give counters another name.
    for name, labels in re.findall(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ", metrics.page().decode(), re.MULTILINE):
        series.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return series


def promtool(*words):
    tool = shutil.which("promtool")
    if not tool:
        pytest.skip("no promtool here, of Debian's package prometheus")
    return subprocess.run([tool, *words], capture_output=True, text=True, timeout=120)


def dashboard_expressions():
    """Title and PromQL of each target, with Grafana's variables filled in."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "1m")
            yield panel["title"], re.sub(r"\$(model|instance)\b", ".*", expression)


def adapter_expressions():
    """Name and PromQL of each metric of the autoscalers, with the adapter's template filled in."""
    for rule in ADAPTER:
        series = re.search(r'__name__="([^"]+)"', rule["seriesQuery"])
        name = series[1] if series else rule["seriesQuery"].partition("{")[0]
        expression = rule["metricsQuery"].replace("<<.Series>>", name).replace("<<.GroupBy>>", "pod")
        yield rule["name"]["as"], expression.replace("<<.LabelMatchers>>", 'namespace="lts",pod=~"a|b"')
        yield rule["name"]["as"], rule["seriesQuery"].replace('__name__="', f'{name}{{a="') if not series else name


def expressions():
    yield from ((rule["alert"], rule["expr"]) for rule in RULES)
    yield from dashboard_expressions()
    yield from adapter_expressions()


def test_metrics_and_labels_are_those_that_the_server_writes(exposed):
    checked = set()
    for where, expression in expressions():
        for name, labels in metrics_of(expression).items():
            assert name in exposed, f"{where}: no metric {name}"
            asked = labels - TARGET_LABELS
            # Labels of a grouping count for every metric beside it: one of them must have each.
            known = set().union(*(exposed[other] for other in metrics_of(expression)))
            assert asked <= known, f"{where}: {name} has no label {asked - known}"
            checked.add(name)
    assert {":tensorflow:serving:request_count", "lts_serving_version_available", "up"} <= checked


def test_the_reader_of_expressions_finds_names_and_labels():
    expression = (
        'sum by (job, le) (rate(:a:b_bucket{status=~"x|y",z!="c"}[5m])) / on (job) time() - foo offset 30d > 5e6'
    )
    found = metrics_of(expression)
    assert found == {":a:b_bucket": {"job", "le", "status", "z"}, "foo": {"job", "le"}}


def test_labels_that_alerts_show_survive_their_expression(exposed):
    for rule in RULES:
        shown = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        kept = re.search(r"\bby \(([^)]*)\)", rule["expr"])
        if kept:
            assert shown <= {label.strip() for label in kept[1].split(",")}, rule["alert"]
        else:
            names = metrics_of(rule["expr"])
            assert shown <= TARGET_LABELS.union(*(exposed[name] for name in names)), rule["alert"]


def test_promql_is_read_by_prometheus_itself(tmp_path):
    rules = [{"record": f"lts:{n}", "expr": expression} for n, (_, expression) in enumerate(expressions())]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "lts", "rules": rules}]}))
    done = promtool("check", "rules", str(tmp_path / "rules.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


@pytest.mark.parametrize("name", ("prometheus.yml", "prometheus-kubernetes.yml"))
def test_prometheus_takes_its_configuration(name, tmp_path):
    config = load_yaml(MONITORING / name)
    for scrape in config["scrape_configs"]:
        # Debian's promtool is built without Kubernetes' discovery; its two keys are these.
        for discovery in scrape.pop("kubernetes_sd_configs", ()):
            assert discovery == {"role": "pod", "namespaces": {"names": ["lts"]}}
    (tmp_path / name).write_text(yaml.safe_dump(config))
    shutil.copy(MONITORING / "alerts.yml", tmp_path)
    done = promtool("check", "config", "--lint-fatal", str(tmp_path / name))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES)} rules found" in done.stdout


@pytest.mark.parametrize("case", TRIED, ids=[case["name"] for case in TRIED])
def test_alerts_fire_and_keep_quiet(case, tmp_path):
    case = json.loads(json.dumps(case))
    document = {"rule_files": [str(MONITORING / "alerts.yml")], "evaluation_interval": case.pop("evaluated", "1m")}
    notes = {rule["alert"]: rule["annotations"] for rule in RULES}
    for test in case["alert_rule_test"]:
        for expected in test["exp_alerts"]:
            expected["exp_annotations"] = {**notes[test["alertname"]], "summary": expected.pop("summary")}
    (tmp_path / "test.yml").write_text(yaml.safe_dump({**document, "tests": [case]}))
    done = promtool("test", "rules", str(tmp_path / "test.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried():
    tried = [test for case in TRIED for test in case["alert_rule_test"]]
    assert {test["alertname"] for test in tried if test["exp_alerts"]} == {rule["alert"] for rule in RULES}
    assert all(rule["labels"]["severity"] in ("critical", "warning", "info") for rule in RULES)


def test_statuses_that_alerts_count_exist_and_none_is_forgotten():
    codes = {code.name for code in grpc.StatusCode} - {"OK"}
    counted = {}
    for rule in RULES:
        for statuses in re.findall(r'request_count\{status=~?"([A-Z_|]+)"', rule["expr"]):
            assert set(statuses.split("|")) <= codes
            counted.setdefault(rule["alert"], set()).update(statuses.split("|"))
    # Neither the server's fault nor a wrong request: the client went away.
    rest = codes - set().union(*counted.values())
    assert rest == {
        "CANCELLED",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "UNAUTHENTICATED",
    }
    assert not counted["LtsErrors"] & counted["LtsBadRequests"]


def test_prometheus_asks_the_path_and_port_of_the_server():
    path = parse_text(KUBERNETES / "base" / "config" / "monitoring.config", MonitoringConfig()).prometheus_config.path
    compose = load_yaml(DEPLOY / "compose.yaml")["services"]
    for scrape in SCRAPES:
        (job,) = scrape["scrape_configs"]
        assert (job["job_name"], job["metrics_path"]) == ("lts", path)
        assert scrape["rule_files"] == ["alerts.yml"]
    (target,) = SCRAPES[0]["scrape_configs"][0]["static_configs"][0]["targets"]
    host, port = target.split(":")
    for name in OVERLAYS:
        assert host in compose[name]["networks"]["default"]["aliases"]
        assert int(port) == parse_flags(compose[name]["command"])[0]["rest_api_port"]
    assert '{job="lts"' in json.dumps(RULES).replace('\\"', '"')


def test_prometheus_finds_the_pods_by_labels_that_they_have():
    (job,) = SCRAPES[1]["scrape_configs"]
    kept = {rule["source_labels"][0]: rule["regex"] for rule in job["relabel_configs"] if rule.get("action") == "keep"}
    for overlay in OVERLAYS:
        objects = render(overlay)
        labels = find(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
        seen = {
            f"__meta_kubernetes_pod_label_{re.sub('[^a-zA-Z0-9]', '_', key)}": value for key, value in labels.items()
        }
        (rest,) = [port for port in server_container(objects)["ports"] if port["name"] == "rest"]
        seen["__meta_kubernetes_pod_container_port_name"] = rest["name"]
        assert kept.items() <= seen.items()
    targets = {rule["target_label"] for rule in job["relabel_configs"] if "target_label" in rule}
    assert targets == {"namespace", "pod"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_autoscaler_asks_for_a_metric_that_the_adapter_offers(overlay):
    offered = {rule["name"]["as"]: rule for rule in ADAPTER}
    (metric,) = find(render(overlay), "HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] in offered
    own = "lts_serving_" in offered[metric["pods"]["metric"]["name"]]["seriesQuery"]
    assert own == (overlay == "embedded")  # the stock server does not have this server's metrics


def test_the_dashboard_is_whole():
    panels, rectangles = DASHBOARD["panels"], []
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        box = panel["gridPos"]
        assert box["x"] + box["w"] <= 24
        for x, y in ((x, y) for x in range(box["w"]) for y in range(box["h"])):
            rectangles.append((box["x"] + x, box["y"] + y))
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
        assert panel["title"] and panel["description"]
    assert len(rectangles) == len(set(rectangles))  # no panel lies on another
    assert {variable["name"] for variable in DASHBOARD["templating"]["list"]} == {"datasource", "model", "instance"}


def test_legends_show_labels_that_the_expression_keeps(exposed):
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            kept = re.search(r"\bby \(([^)]*)\)", target["expr"])
            names = metrics_of(target["expr"].replace("$__rate_interval", "1m"))
            labels = {label.strip() for label in kept[1].split(",")} if kept else TARGET_LABELS
            assert shown <= labels, panel["title"]
            assert labels <= TARGET_LABELS.union(*(exposed[name] for name in names)), panel["title"]


def test_grafana_finds_prometheus_and_the_dashboard():
    compose = load_yaml(DEPLOY / "compose.yaml")["services"]
    provisioning = MONITORING / "grafana" / "provisioning"
    (source,) = load_yaml(provisioning / "datasources" / "prometheus.yml")["datasources"]
    host, port = re.fullmatch(r"http://(\w+):(\d+)", source["url"]).groups()
    assert compose[host]["ports"] == [f"127.0.0.1:{port}:{port}"]
    (variable,) = [v for v in DASHBOARD["templating"]["list"] if v["type"] == "datasource"]
    assert (variable["query"], variable["current"]["value"]) == (source["type"], source["uid"])
    (provider,) = load_yaml(provisioning / "dashboards" / "lts.yml")["providers"]
    assert f"./monitoring/grafana/dashboards:{provider['options']['path']}:ro" in compose["grafana"]["volumes"]


def test_prometheus_keeps_what_the_oldest_look_needs():
    command = load_yaml(DEPLOY / "compose.yaml")["services"]["prometheus"]["command"]
    (days,) = [int(found[1]) for word in command if (found := re.fullmatch(r"--storage.*retention.time=(\d+)d", word))]
    offsets = [int(found) for rule in RULES for found in re.findall(r"offset (\d+)d", rule["expr"])]
    assert days > max(offsets)
