"""The page that Prometheus reads: names, labels and buckets of TensorFlow Serving, and what is counted."""

import contextlib
import threading
import types
from pathlib import Path

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from serving.core.call import Call
from serving.core.events import Draining, Events, FolderPassedOver, LookFailed, RequestEnded, VersionChanged
from serving.core.limits import Admission, Cost, Limits
from serving.core.settings import ModelSettings
from serving.transport.metrics import Metrics

LOADING, AVAILABLE, UNLOADING, END = 20, 30, 40, 50
LATENCY = ":tensorflow:serving:request_latency"


@pytest.fixture
def house():
    return make_house()


@contextlib.contextmanager
def lease(spec):
    """What the metrics read of a servable; version 7 has recorded requests and a key in ML Metadata."""
    folder = Path("/models/lts") / str(spec.version.value)
    seven = spec.version.value == 7
    yield types.SimpleNamespace(folder=folder, warm_up_seconds=0.25 if seven else None, mlmd_uuid="a-b" * seven)


def make_house():
    settings = {"lts": ModelSettings(Path("/models/lts"))}
    manager = types.SimpleNamespace(names=["lts"], settings=settings, lease=lease)
    events, admission = Events(), Admission(Limits(rows_running=4))
    return types.SimpleNamespace(events=events, admission=admission, metrics=Metrics(events, manager, admission))


def ended(model="lts", method="Predict", transport="GRPC", code=grpc.StatusCode.OK, seconds=0.25, rows=3):
    return RequestEnded(model, 7, "serving_default", method, transport, code, seconds, rows)


def page(house):
    """dict from `(name, labels as a frozenset of pairs)` to value, of samples; and from name to kind."""
    samples, kinds = {}, {}
    for line in house.metrics.page().decode("utf-8").splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            kinds[name] = kind
    for family in text_string_to_metric_families(house.metrics.page().decode("utf-8")):
        for sample in family.samples:
            # The parser gives every counter the ending that OpenMetrics asks for.
            name = sample.name if sample.name in kinds else sample.name.removesuffix("_total")
            samples[name, frozenset(sample.labels.items())] = sample.value
    return samples, kinds


def value(house, name, **labels):
    return page(house)[0].get((name, frozenset(labels.items())))


def test_requests_are_counted_by_model_and_status_under_tensorflow_servings_name(house):
    for code in (grpc.StatusCode.OK, grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED):
        house.events.emit(ended(code=code))
    text = house.metrics.page().decode()
    assert "# TYPE :tensorflow:serving:request_count counter\n" in text
    assert ':tensorflow:serving:request_count{model_name="lts",status="OK"} 2.0\n' in text
    assert ':tensorflow:serving:request_count{model_name="lts",status="RESOURCE_EXHAUSTED"} 1.0\n' in text
    assert "_created" not in text


def test_latency_has_tensorflow_servings_labels_and_buckets_in_microseconds(house):
    house.events.emit(ended(seconds=0.25))
    house.events.emit(ended(seconds=0.25, transport="REST", method="Classify"))
    house.events.emit(ended(seconds=0.25, code=grpc.StatusCode.INTERNAL))  # not of those that failed
    labels = {"model_name": "lts", "API": "Predict", "entrypoint": "GRPC"}
    bounds = [
        dict(key)["le"] for name, key in page(house)[0] if name == f"{LATENCY}_bucket" and ("API", "Predict") in key
    ]
    assert len(bounds) == 34
    assert bounds[0] == "10"
    assert bounds[1] == "18"
    assert bounds[19] == "708235"
    assert bounds[20] == "1.27482e+06"
    assert bounds[-1] == "+Inf"
    assert value(house, f"{LATENCY}_bucket", **labels, le="218591") == 0
    assert value(house, f"{LATENCY}_bucket", **labels, le="393464") == 1
    assert value(house, f"{LATENCY}_count", **labels) == 1
    assert value(house, f"{LATENCY}_sum", **labels) == pytest.approx(250_000)
    assert value(house, f"{LATENCY}_count", model_name="lts", API="classify", entrypoint="REST") == 1


def test_examples_are_those_of_the_methods_that_take_some(house):
    house.events.emit(ended(rows=3))
    house.events.emit(ended(rows=5, method="Regress"))
    assert value(house, ":tensorflow:serving:request_example_count_total", model="lts") == 5
    assert value(house, ":tensorflow:serving:request_example_counts_bucket", model="lts", le="4") == 0
    assert value(house, ":tensorflow:serving:request_example_counts_bucket", model="lts", le="8") == 1
    assert value(house, "lts_serving_request_rows_total", model_name="lts") == 8


def test_status_and_reload_are_no_requests_of_a_model(house):
    house.events.emit(ended(method="GetModelStatus"))
    assert not [key for key in page(house)[0] if key[0] == ":tensorflow:serving:request_count"]


@settings(max_examples=25)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=30))
def test_names_that_clients_make_up_are_one_line(names):
    house = make_house()
    for name in names:
        house.events.emit(ended(model=name, code=grpc.StatusCode.NOT_FOUND))
    lines = house.metrics.page().decode("utf-8").splitlines()
    counts = [line for line in lines if line.startswith(":tensorflow:serving:request_count{")]
    assert len(counts) <= 2
    unknown = sum(name != "lts" for name in names)
    expected = f':tensorflow:serving:request_count{{model_name="unknown",status="NOT_FOUND"}} {unknown}.0'
    assert (expected in counts) == (unknown > 0)


def test_loads_are_counted_and_a_version_that_answers_is_shown(house):
    house.events.emit(VersionChanged("lts", 7, LOADING))
    house.events.emit(VersionChanged("lts", 7, AVAILABLE, seconds=1.5))
    house.events.emit(VersionChanged("lts", 8, LOADING))
    house.events.emit(VersionChanged("lts", 8, END, 3, "broken"))
    attempts = ":tensorflow:cc:saved_model:load_attempt_count"
    assert value(house, attempts, model_path="/models/lts/7", status="success") == 1
    assert value(house, attempts, model_path="/models/lts/8", status="fail") == 1
    assert value(house, ":tensorflow:cc:saved_model:load_latency", model_path="/models/lts/7") == 1.5e6
    shown = "lts_serving_version_available"
    assert value(house, shown, model_name="lts", version="7") == 1
    warm_ups = ":tensorflow:serving:model_warmup_latency_sum"
    assert value(house, warm_ups, model_path="/models/lts/7", status="OK") == 2.5e5
    assert value(house, warm_ups, model_path="/models/lts/8", status="OK") is None
    key = {"model_name": "lts", "version": "7", "mlmd_uuid": "a-b"}
    assert value(house, ":tensorflow:serving:mlmd_map", **key) == 1
    house.events.emit(VersionChanged("lts", 7, UNLOADING))
    house.events.emit(VersionChanged("lts", 7, END))
    assert value(house, shown, model_name="lts", version="7") is None
    assert value(house, ":tensorflow:serving:mlmd_map", **key) is None
    assert value(house, attempts, model_path="/models/lts/7", status="success") == 1


def test_a_thousand_versions_do_not_grow_the_page(house):
    sizes = []
    for version in range(1, 1001):
        house.events.emit(VersionChanged("lts", version, AVAILABLE, seconds=0.5))
        house.events.emit(VersionChanged("lts", version, UNLOADING))
        house.events.emit(VersionChanged("lts", version, END))
        if version % 250 == 0:
            sizes.append(house.metrics.page().count(b"\n"))
    assert len(set(sizes)) == 1
    assert value(house, ":tensorflow:cc:saved_model:load_latency", model_path="/models/lts/1000") == 5e5
    assert value(house, ":tensorflow:cc:saved_model:load_latency", model_path="/models/lts/1") is None


def test_rows_that_run_and_wait_are_gauges(house):
    cost, entered, leave = Cost(rows=3, bytes=10, pixels=100), threading.Event(), threading.Event()

    def hold():
        with house.admission.admit(cost, Call()):
            entered.set()
            leave.wait(10)

    holding = threading.Thread(target=hold)
    holding.start()
    entered.wait(10)
    waiting = threading.Thread(target=hold)
    waiting.start()
    while house.admission.waiting != 1:
        assert waiting.is_alive()
    names = ("rows_running", "rows_waiting", "predictions", "bytes_in_flight", "pixels_in_flight")
    assert [value(house, f"lts_serving_{name}") for name in names] == [3, 3, 2, 20, 200]
    leave.set()
    for thread in (holding, waiting):
        thread.join()
    assert [value(house, f"lts_serving_{name}") for name in names] == [0] * 5


def test_looks_folders_and_the_end_are_told(house):
    assert value(house, "lts_serving_draining") == 0
    house.events.emit(LookFailed("lts", "/models/lts", "gone"))
    house.events.emit(FolderPassedOver("lts", "/models/lts/v1", "no version"))
    house.events.emit(Draining(3.0))
    assert value(house, "lts_serving_failed_looks_total", model_name="lts") == 1
    assert value(house, "lts_serving_passed_over_total", model_name="lts") == 1
    assert value(house, "lts_serving_draining") == 1


def test_a_reload_reads_counters_by_tensorflow_servings_names(house):
    assert house.metrics.value("/tensorflow/serving/request_count") == 0
    for code in (grpc.StatusCode.OK, grpc.StatusCode.INTERNAL):
        house.events.emit(ended(code=code, method="Regress", rows=2))
    assert house.metrics.value("/tensorflow/serving/request_count") == 2
    assert house.metrics.value("/tensorflow/serving/request_latency") == 1
    assert house.metrics.value("/tensorflow/serving/request_example_count_total") == 2
    assert house.metrics.value("/nothing/of/that/name") == 0


def test_every_family_is_of_a_kind_that_prometheus_knows(house):
    house.events.emit(ended())
    _, kinds = page(house)
    assert set(kinds.values()) == {"counter", "gauge", "histogram"}
    assert kinds["process_resident_memory_bytes"] == "gauge"
