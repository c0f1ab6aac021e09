"""The embedded server: TensorFlow Serving's gRPC and REST interfaces in one Python process."""

import logging
import threading
import time

from serving.api.context import ServingContext, run_servable
from serving.config_files import ConfigPoller, read_text
from serving.core.events import Draining, Events
from serving.core.limits import Admission, Limits
from serving.core.manager import Manager
from serving.core.photo_cache import PhotoCache
from serving.errors import StartError
from serving.options import ServerOptions, make_settings
from serving.transport.console import log_event
from serving.transport.grpc import SERVICES, GrpcServer
from serving.transport.health import Health
from serving.transport.metrics import Metrics
from serving.transport.ports import HeldPort, address_of
from serving.transport.profiler import SERVICE as PROFILER
from serving.transport.profiler import Profiler
from serving.transport.reflection import add_reflection
from serving.transport.request_log import RequestLog
from serving.transport.rest import RestServer
from serving.transport.tls import server_credentials

__all__ = ["Server"]

logger = logging.getLogger(__name__)

_SECONDS_TO_END_REST = 1.0  # that its server takes beyond its grace, for connections that do not end
_SHARE_TO_END = 0.1  # of the grace, for what comes after gRPC: the request log is completed, models are closed
_HEALTH = "grpc.health.v1.Health"


class Server:
    """Serves models until it is stopped.

    Args:
        models: dict from model name to the folder with its version folders, or to `ModelSettings`.
        options: `ServerOptions`.

    Attributes:
        port: int, the gRPC port.
        rest_port: int, the HTTP port; `None` for none.
        manager: `Manager`, the models.
        admission: `Admission`, the bound of both transports together.
        events: `Events`, what happens.
        health: `Health`.
        metrics: `Metrics`.

    Raises:
        StartError: if a folder is missing or a port is in use.
    """

    def __init__(self, models, options=None):
        self.options = options = options or ServerOptions()
        settings = make_settings(models)
        self._config_text = read_text(options.model_config_file) if options.model_config_file else None
        self._held = HeldPort(options.host, options.port)
        self.port = self._held.port
        self.events = Events()
        self.events.subscribe(log_event)
        self.admission = Admission(options.limits or Limits(max_predictions=options.max_predictions))
        self.manager = Manager(settings, options, self.events)
        self.health = Health(self.manager, self.events)
        self.metrics = Metrics(self.events, self.manager, self.admission)
        self._request_log = RequestLog(options.request_log, lambda name: self.manager.settings.get(name))
        self.events.subscribe(self._request_log)
        self.metrics.watch_log(self._request_log)
        cache = PhotoCache(options.photo_cache_bytes) if options.photo_cache_bytes else None
        self.context = ServingContext(
            self.manager,
            self.admission,
            self.events,
            options,
            run=cache.run if cache else run_servable,
            metric_value=self.metrics.value,
        )
        self._rest = None
        if options.rest_port is not None:
            try:
                self._rest = RestServer(self.context, options, self.metrics if options.metrics_path else None)
            except StartError:
                self._held.release()
                raise
        self.rest_port = self._rest and self._rest.port
        self._grpc = self._poller = None
        self._opening = threading.Lock()
        self._stopping = threading.Event()
        self._stopped = threading.Event()

    def start(self):
        """Loads the newest versions, then listens and watches the folders.

        As with TensorFlow Serving, the ports are closed until the first look is over. A model that has no version then,
        or none that loads, does not keep the others waiting: requests for it are answered `NOT_FOUND`, and `Health`
        says what is ready.

        Raises:
            StartError: if a port was taken by somebody else meanwhile.
        """
        self._request_log.start()
        self.manager.refresh()
        with self._opening:
            if not self._stopping.is_set():
                self._open()
        return self

    def wait(self):
        """Returns when the server has stopped."""
        self._stopped.wait()

    def stop(self, lame_duck=0.0):
        """Ends: health turns first, then nobody new is let in, and what runs is answered.

        Args:
            lame_duck: float, seconds in which new requests are still taken after health has turned. Everything together
                takes at most `options.grace_seconds`; what still runs then is broken off.
        """
        until = time.monotonic() + self.options.grace_seconds
        with self._opening:
            self._stopping.set()
        self.events.emit(Draining(self.options.grace_seconds))
        if self._poller:
            self._poller.stop()
        if self._grpc:
            if self._rest:
                self._rest.drain()
            time.sleep(min(lame_duck, self.options.grace_seconds))
            to_end = min(_SECONDS_TO_END_REST, _SHARE_TO_END * self.options.grace_seconds)
            stopping = threading.Thread(target=self._grpc.stop, args=(until - to_end,), name="stop-grpc")
            stopping.start()
            if self._rest:
                self._rest.stop(max(0.0, until - time.monotonic() - _SECONDS_TO_END_REST))
            stopping.join()
        elif self._rest:
            self._rest.stop()
        self._held.release()
        self.manager.close()
        self._request_log.stop()
        self._stopped.set()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
        # A load cannot be broken off, and a process that ends in the middle of one is aborted.
        until = time.monotonic() + self.options.grace_seconds
        while self.manager.busy and time.monotonic() < until:
            time.sleep(0.01)

    def _open(self):
        options = self.options
        self._grpc = GrpcServer(self.context, options)
        server = self._grpc.server
        services = list(SERVICES)
        if options.health_service:
            self.health.add_to(server)
            services.append(_HEALTH)
        if options.profiler:
            Profiler().add_to(server)
            services.append(PROFILER)
        add_reflection(server, services)
        address = address_of(options.host, self.port)
        credentials = server_credentials(options.ssl)
        self._listen(address, credentials)
        if options.grpc_socket_path:
            self._listen(f"unix:{options.grpc_socket_path}", credentials)
        self._held.release()
        self.health.open()
        server.start()
        logger.info("Running gRPC ModelServer at %s ...", address)
        if options.grpc_socket_path:
            logger.info("Running gRPC ModelServer at UNIX socket %s ...", options.grpc_socket_path)
        if self._rest:
            self._rest.start()
            logger.info("Exporting HTTP/REST API at:localhost:%d ...", self.rest_port)
        self.manager.start()
        if options.model_config_poll_seconds > 0 and options.model_config_file:
            self._poller = ConfigPoller(
                options.model_config_file, self._config_text, self.manager.reload, options.model_config_poll_seconds
            )
            self._poller.start()

    def _listen(self, address, credentials):
        try:
            if credentials is None:
                port = self._grpc.server.add_insecure_port(address)
            else:
                port = self._grpc.server.add_secure_port(address, credentials)
        except RuntimeError:
            port = 0
        if not port:
            raise StartError(f"cannot listen on {address}: it is in use or not allowed")
