"""TensorFlow Serving's REST interface beside gRPC, in a thread with a loop of its own."""

import asyncio
import contextlib
import functools
import logging
import socket
import threading
import time

import uvicorn

from serving.errors import StartError
from serving.transport.metrics import CONTENT_TYPE
from serving.transport.rest_app import RestApp
from serving.transport.rest_protocol import BoundedProtocol

__all__ = ["RestServer"]

logger = logging.getLogger(__name__)

_BACKLOG = 2048  # clients that have come and are not let in yet
_KEEP_ALIVE_SECONDS = 75
_QUIET_SECONDS = 0.3  # a connection that was silent for so long after the last answer may be closed
_LAST_SECONDS = 1.0  # for what cannot be ended otherwise


class RestServer:
    """Answers over HTTP until it is stopped.

    Args:
        context: `ServingContext`.
        options: `ServerOptions`: host, `rest_port`, threads, timeout, CORS, path of the metrics page.
        metrics: `Metrics`, whose page is answered at `options.metrics_path`; `None` for none.

    Attributes:
        port: int.

    Raises:
        StartError: if the port is in use.
    """

    def __init__(self, context, options, metrics=None):
        self._socket = _bind(options.host, options.rest_port)
        self.port = self._socket.getsockname()[1]
        page = None if metrics is None else functools.partial(_metrics_page, metrics)
        self._app = RestApp(context, options, page, options.metrics_path)
        config = uvicorn.Config(
            self._app,
            http=BoundedProtocol,
            loop="asyncio",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            backlog=_BACKLOG,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_LAST_SECONDS,
        )
        # Each client that speaks no HTTP would be a line in the log.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        self._server = uvicorn.Server(config)
        self._loop = None
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rest", daemon=True)

    def start(self):
        """Answers from now on.

        Raises:
            StartError: if another server that was started meanwhile listens on the port already: who only binds it
                hinders nobody.
        """
        try:
            self._socket.listen(_BACKLOG)
        except OSError as error:
            address = "{}:{}".format(*self._socket.getsockname())
            raise StartError(f"cannot listen on {address}: {error.strerror or error}") from None
        self._thread.start()
        self._running.wait()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.001)

    def drain(self):
        """Goes on, but tells the clients with each answer to come back on another connection."""
        self._app.draining = True

    def stop(self, grace=0.0):
        """Lets nobody new in, answers what runs, and ends.

        Args:
            grace: float, seconds that running requests may take; the others are answered `UNAVAILABLE` then.
        """
        self.drain()
        if self._loop is not None and self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._finish(grace), self._loop).result()
            self._thread.join()
        self._socket.close()
        self._app.close()

    def _run(self):
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._loop.set_exception_handler(_log_exception)
            self._running.set()
            runner.run(self._server.serve([self._socket]))

    async def _finish(self, grace):
        end = time.monotonic() + grace
        await self._close_port()
        while self._is_in_use() and time.monotonic() < end:
            await asyncio.sleep(0.02)
        self._app.abandon()
        while self._app.active and time.monotonic() < end + _LAST_SECONDS:
            await asyncio.sleep(0.02)
        self._server.should_exit = True

    async def _close_port(self):
        """Takes in who has come, then nobody any more. asyncio alone would lose clients between its two steps."""
        self._loop.remove_reader(self._socket)
        await asyncio.sleep(0)
        clients = []
        with contextlib.suppress(OSError):  # BlockingIOError: nobody waits
            while True:
                clients.append(self._socket.accept()[0])
        for server in self._server.servers:
            server.close()
        for client in clients:
            await self._loop.connect_accepted_socket(self._make_protocol, client)

    def _make_protocol(self):
        return BoundedProtocol(self._server.config, self._server.server_state, {}, self._loop)

    def _is_in_use(self):
        """Whether a request is on its way. A client that was just answered may be sending its next one."""
        connections = self._server.server_state.connections
        return self._app.active > 0 or any(
            connection.busy or connection.silent_for() < _QUIET_SECONDS for connection in connections
        )


def _bind(host, port):
    """A socket that is bound and does not listen yet: nobody is let in before the first models are loaded."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except OSError as error:
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    try:
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    return bound


def _metrics_page(metrics):
    return CONTENT_TYPE, metrics.page()


def _log_exception(loop, details):
    """Clients that go in the middle of something are no news."""
    if not isinstance(details.get("exception"), ConnectionError):
        logger.error("%s", details.get("message"), exc_info=details.get("exception"))
