"""Metrics for Prometheus: TensorFlow Serving's names, labels and buckets, and a few of this server's own.

`/tensorflow/serving/request_count` is `:tensorflow:serving:request_count` on the page, as TensorFlow Serving writes it.
"""

import collections
import contextlib
import functools
import threading

import grpc
import prometheus_client
from prometheus_client.utils import floatToGoString

from serving.core.events import Draining, FolderPassedOver, LookFailed, RequestEnded, VersionChanged
from serving.errors import RequestError
from serving.wire.protos import ModelSpec

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_MICROSECONDS = [float(f"{10 * 1.8**step:g}") for step in range(33)]  # 10 us to 20 minutes
_EXAMPLES = [2.0**step for step in range(15)]
_API_METHODS = ("Predict", "Classify", "Regress", "MultiInference")
_EXAMPLE_METHODS = _API_METHODS[1:]
_AVAILABLE, _UNLOADING, _END = 30, 40, 50  # numbers of `ModelVersionStatus.State`
_PATHS_KEPT = 100
_OTHER_MODEL = "unknown"  # names that clients make up must not each become a line here


class Metrics:
    """Counts what the stream of events tells, and writes the page that Prometheus reads.

    Args:
        events: `Events`.
        manager: `Manager`, whose names of models are labels.
        admission: `Admission`, for the gauges of what waits and runs; `None` for none.
    """

    def __init__(self, events, manager, admission=None):
        self._manager = manager
        self._registry = prometheus_client.CollectorRegistry()
        self._names = {}  # name of a counter in the registry -> name on the page
        serving, saved_model = ":tensorflow:serving:", ":tensorflow:cc:saved_model:"
        self._requests = self._counter(f"{serving}request_count", "Requests, by status.", "model_name", "status")
        self._latency = self._histogram(
            f"{serving}request_latency", "Microseconds of an answered request.", "model_name", "API", "entrypoint"
        )
        self._examples = self._counter(f"{serving}request_example_count_total", "tensorflow.Examples.", "model")
        self._example_counts = self._histogram(
            f"{serving}request_example_counts", "tensorflow.Examples of a request.", "model", buckets=_EXAMPLES
        )
        self._loads = self._counter(f"{saved_model}load_attempt_count", "Loads, by status.", "model_path", "status")
        self._load_time = self._counter(f"{saved_model}load_latency", "Microseconds of good loads.", "model_path")
        self._warm_ups = self._histogram(
            f"{serving}model_warmup_latency", "Microseconds of a version's recorded requests.", "model_path", "status"
        )
        # A string in TensorFlow Serving, which Prometheus has none of.
        self._mlmd = self._gauge(
            f"{serving}mlmd_map", "1, with the version's key in ML Metadata.", "model_name", "version", "mlmd_uuid"
        )
        self._paths = collections.OrderedDict()  # of versions, the latest loaded last
        self._lock = threading.Lock()
        self._rows = self._counter("lts_serving_request_rows_total", "Rows of answered requests.", "model_name")
        self._looks = self._counter("lts_serving_failed_looks_total", "Folders that could not be read.", "model_name")
        self._passed_over = self._counter(
            "lts_serving_passed_over_total", "Found in a model's folder, and no version.", "model_name"
        )
        self._states = self._gauge("lts_serving_version_available", "1 while it answers.", "model_name", "version")
        self._draining = self._gauge("lts_serving_draining", "1 from the signal to end on.")
        self._draining.set(0)
        if admission is not None:
            self._watch(admission)
        prometheus_client.ProcessCollector(registry=self._registry)
        events.subscribe(self._listen)

    def watch_log(self, request_log):
        """Shows a `RequestLog`'s counts too."""
        gauge = self._gauge("lts_serving_request_log_records", "Records of the request log, by outcome.", "outcome")
        for outcome in ("written", "dropped", "failed"):
            gauge.labels(outcome).set_function(functools.partial(getattr, request_log, outcome))

    def page(self):
        """Returns the page: bytes of Prometheus' text format, of the type `CONTENT_TYPE`."""
        lines = []
        for family in self._registry.collect():
            # The process collector's counters are not of this class: they end as Prometheus wants it.
            name = self._names.get(family.name, family.name + "_total" * (family.type == "counter"))
            lines += [f"# HELP {name} {family.documentation}", f"# TYPE {name} {family.type}"]
            for sample in family.samples:
                if not sample.name.endswith("_created"):
                    shown = name if family.type == "counter" else sample.name
                    lines.append(f"{shown}{_labels(sample.labels)} {floatToGoString(sample.value)}")
        return ("\n".join(lines) + "\n").encode("utf-8")

    def value(self, name):
        """A counter by TensorFlow Serving's own name, over all labels.

        Args:
            name: str, for example `/tensorflow/serving/request_count`; of a distribution, the number of its entries.

        Returns:
            int; 0 for a name that is not there.
        """
        wanted = name.replace("/", ":")
        total = 0
        for family in self._registry.collect():
            if self._names.get(family.name, family.name) == wanted:
                names = {"histogram": f"{wanted}_count", "counter": f"{family.name}_total"}
                expected = names.get(family.type, wanted)
                total += sum(sample.value for sample in family.samples if sample.name == expected)
        return int(total)

    def _counter(self, name, text, *labels):
        self._names[name.removesuffix("_total")] = name
        return prometheus_client.Counter(name, text, labels, registry=self._registry)

    def _gauge(self, name, text, *labels):
        return prometheus_client.Gauge(name, text, labels, registry=self._registry)

    def _histogram(self, name, text, *labels, buckets=_MICROSECONDS):
        return prometheus_client.Histogram(name, text, labels, registry=self._registry, buckets=buckets)

    def _watch(self, admission):
        gauges = {
            "rows_waiting": (lambda: admission.rows_waiting, "Rows that wait for their turn in the graph."),
            "rows_running": (lambda: admission.rows, "Rows in the graph."),
            "predictions": (lambda: admission.predictions, "Predictions that wait or run."),
            "bytes_in_flight": (lambda: admission.bytes, "Bytes of requests that are read and not answered."),
            "pixels_in_flight": (lambda: admission.pixels, "Decoded pixels of them, a photo once a sentence."),
        }
        for name, (value, text) in gauges.items():
            self._gauge(f"lts_serving_{name}", text).set_function(value)

    def _listen(self, event):
        if isinstance(event, RequestEnded):
            self._count_request(event)
        elif isinstance(event, VersionChanged):
            self._count_change(event)
        elif isinstance(event, LookFailed):
            self._looks.labels(event.model).inc()
        elif isinstance(event, FolderPassedOver):
            self._passed_over.labels(event.model).inc()
        elif isinstance(event, Draining):
            self._draining.set(1)

    def _count_request(self, event):
        if event.method not in _API_METHODS:
            return
        model = event.model if event.model in self._manager.names else _OTHER_MODEL
        self._requests.labels(model, event.code.name).inc()
        if event.code != grpc.StatusCode.OK:
            return
        # As TensorFlow Serving has it: the method's name over gRPC, the word of the path over HTTP.
        api = event.method if event.transport == "GRPC" else event.method.lower()
        self._latency.labels(model, api, event.transport).observe(event.seconds * 1e6)
        self._rows.labels(model).inc(event.rows)
        if event.method in _EXAMPLE_METHODS:
            self._examples.labels(model).inc(event.rows)
            self._example_counts.labels(model).observe(event.rows)

    def _count_change(self, event):
        version = str(event.version)
        if event.state == _AVAILABLE:
            self._states.labels(event.model, version).set(1)
        elif event.state in (_UNLOADING, _END):
            self._states.remove(event.model, version)
            self._mlmd.remove_by_labels({"model_name": event.model, "version": version})
        if event.state == _AVAILABLE and event.seconds is not None:
            self._count_load(event)
        elif event.error_code and event.model in self._manager.settings:
            path = str(self._manager.settings[event.model].base_path / version)
            self._loads.labels(path, "fail").inc()
            self._forget_old_paths(path)

    def _count_load(self, event):
        spec = ModelSpec(name=event.model)
        spec.version.value = event.version
        # Word may come late, when the version has gone again.
        with contextlib.suppress(RequestError), self._manager.lease(spec) as servable:
            path = str(servable.folder)
            self._loads.labels(path, "success").inc()
            self._load_time.labels(path).inc(event.seconds * 1e6)
            if servable.warm_up_seconds is not None:
                self._warm_ups.labels(path, "OK").observe(servable.warm_up_seconds * 1e6)
            if servable.mlmd_uuid:
                self._mlmd.labels(event.model, str(event.version), servable.mlmd_uuid).set(1)
            self._forget_old_paths(path)

    def _forget_old_paths(self, path):
        """A year of new versions must not grow the page for ever."""
        with self._lock:
            self._paths[path] = None
            self._paths.move_to_end(path)
            old = [self._paths.popitem(last=False)[0] for _ in range(len(self._paths) - _PATHS_KEPT)]
        for each in old:
            for status in ("success", "fail"):
                self._loads.remove(each, status)
            self._load_time.remove(each)
            self._warm_ups.remove(each, "OK")


def _labels(labels):
    """`{name="value",...}`; the bounds of buckets have the six digits of TensorFlow Serving's."""
    shown = []
    for name, value in labels.items():
        if name == "le" and value != "+Inf":
            value = f"{float(value):g}"
        value = value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
        shown.append(f'{name}="{value}"')
    return "{" + ",".join(shown) + "}" if shown else ""
