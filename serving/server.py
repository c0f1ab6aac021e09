"""The embedded server: TensorFlow Serving's gRPC interface in one Python process."""

import concurrent.futures
import logging
import os
import signal
import threading

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2
from tensorflow_serving.apis.model_service_pb2_grpc import add_ModelServiceServicer_to_server
from tensorflow_serving.apis.prediction_service_pb2_grpc import add_PredictionServiceServicer_to_server

from serving.api.services import Admission, ModelService, PredictionService
from serving.core.manager import Manager
from serving.errors import StartError
from serving.options import ServerOptions, make_settings
from serving.transport.rest import RestServer
from serving.wire.tensors import LARGEST_MESSAGE_BYTES

__all__ = ["Server", "serve"]

logger = logging.getLogger(__name__)

_SPARE_THREADS = 8  # for health, status and refusals while every prediction's thread is busy


class Server:
    """Serves models over gRPC until it is stopped.

    A thread per request: a prediction leaves Python for TensorFlow, which batches what runs at the same time.

    Args:
        models: dict from model name to the folder with its version folders, or to `ModelSettings`.
        options: `ServerOptions`.

    Raises:
        StartError: if a folder is missing or the port is in use.
    """

    def __init__(self, models, options=None):
        self.options = options or ServerOptions()
        self.models = Manager(make_settings(models), warm_up=self.options.enable_model_warmup)
        self.admission = Admission(self.options.max_predictions)
        self._health = health.HealthServicer()
        self._stopped = threading.Event()
        threads = self.options.max_predictions + _SPARE_THREADS
        self._server = grpc.server(
            concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="rpc"),
            options=[
                ("grpc.max_receive_message_length", LARGEST_MESSAGE_BYTES),
                ("grpc.max_send_message_length", LARGEST_MESSAGE_BYTES),
                # Without this a second server would share the port and take half of the requests.
                ("grpc.so_reuseport", 0),
            ],
        )
        self._add_services()
        self.port = self._bind()
        self._rest = None
        if self.options.rest_port is not None:
            self._rest = RestServer(self.models, self.admission, self.options.host, self.options.rest_port)
        self.rest_port = self._rest.port if self._rest else None

    def start(self):
        """Listens, loads the newest versions, then watches the folders. Until a model is loaded, health says
        `NOT_SERVING` and requests are answered `NOT_FOUND`.
        """
        self._server.start()
        logger.info("Running gRPC ModelServer at %s:%d ...", self.options.host, self.port)
        if self._rest:
            self._rest.start()
            logger.info("Exporting HTTP/REST API at: %s:%d ...", self.options.host, self.rest_port)
        self.models.refresh()
        self._report_health()
        self.models.start(self.options.poll_seconds, self._report_health)
        return self

    def wait(self):
        """Returns when the server has stopped."""
        self._stopped.wait()

    def stop(self):
        """Takes no more requests, waits for those that run, ends."""
        self._health.enter_graceful_shutdown()
        if self._rest:
            self._rest.stop()
        self._server.stop(self.options.grace_seconds).wait()
        self.models.stop()
        self._stopped.set()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def _add_services(self):
        add_PredictionServiceServicer_to_server(PredictionService(self.models, self.admission), self._server)
        add_ModelServiceServicer_to_server(ModelService(self.models), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        descriptors = (prediction_service_pb2.DESCRIPTOR, model_service_pb2.DESCRIPTOR, health_pb2.DESCRIPTOR)
        self._services = [service.full_name for file in descriptors for service in file.services_by_name.values()]
        reflection.enable_server_reflection([*self._services, reflection.SERVICE_NAME], self._server)
        self._report_health()

    def _bind(self):
        address = f"{self.options.host}:{self.options.port}"
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError:
            port = 0
        if not port:
            raise StartError(f"cannot listen on {address}: the port is in use or not allowed")
        return port

    def _report_health(self):
        ready = self.models.ready
        status = health_pb2.HealthCheckResponse
        for service in ("", *self._services):
            self._health.set(service, status.SERVING if ready else status.NOT_SERVING)


def serve(models, options):
    """Runs a server until SIGTERM or SIGINT, then lets the running requests end.

    Args:
        models: as for `Server`.
        options: `ServerOptions`.

    Raises:
        StartError: as `Server`.
    """
    server = Server(models, options)
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    # Signals are handled by the main thread, which must not be deep in a load then.
    starting = threading.Thread(target=server.start, name="start", daemon=True)
    starting.start()
    ending.wait()
    logger.info("Stopping: running requests have %g s", options.grace_seconds)
    server.stop()
    if starting.is_alive() or server.models.busy:
        # A load cannot be broken off, and Python must not end under a thread that is deep in TensorFlow.
        logging.shutdown()
        os._exit(0)
