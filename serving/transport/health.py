"""gRPC's health service, fed by the stream of events.

The rule: the server as a whole and its services are `SERVING` from the end of the first look at the models' folders on,
while at least one model has a version that answers, until the server begins to end. One broken model among others turns
its own name alone: each configured model is a service of its own here, `SERVING` while a version of it answers. Any
other name is unknown (`NOT_FOUND`).
"""

import threading

from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from serving.core.events import Draining, SettingsChanged, VersionChanged

__all__ = ["SERVICES", "Health"]

SERVICES = (
    "",
    "PredictionService",
    "ModelService",
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
)
"""Names for the server as a whole: the empty one, those that TensorFlow Serving registers, and the full ones."""

_Status = health_pb2.HealthCheckResponse


class Health:
    """Tells who asks over gRPC whether the server, or one model, is ready.

    Args:
        manager: has `names` of the models, and `serves(name)`.
        events: `Events`.
    """

    def __init__(self, manager, events):
        self._manager = manager
        self._servicer = health.HealthServicer()
        self._lock = threading.Lock()
        self._opened = False
        self._models = set()
        self._update()
        events.subscribe(self._listen)

    @property
    def ready(self):
        """Whether the server as a whole is `SERVING`."""
        return self._servicer.Check(health_pb2.HealthCheckRequest(service=""), None).status == _Status.SERVING

    def open(self):
        """The first look at the folders is over."""
        with self._lock:
            self._opened = True
        self._update()

    def add_to(self, server):
        """Adds the service to a `grpc.Server`."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    def _listen(self, event):
        if isinstance(event, (SettingsChanged, VersionChanged)):
            self._update()
        elif isinstance(event, Draining):
            self._servicer.enter_graceful_shutdown()  # for good: later changes no longer show

    def _update(self):
        # Under the lock, so that of two changes at once the later state is told last.
        with self._lock:
            names = set(self._manager.names)
            serving = {name for name in names if self._manager.serves(name)}
            for name in self._models - names - set(SERVICES):
                self._servicer.set(name, _Status.SERVICE_UNKNOWN)
            for name in names - set(SERVICES):
                self._servicer.set(name, _Status.SERVING if self._opened and name in serving else _Status.NOT_SERVING)
            for name in SERVICES:
                self._servicer.set(name, _Status.SERVING if self._opened and serving else _Status.NOT_SERVING)
            self._models = names
