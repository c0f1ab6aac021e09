"""TensorFlow Serving's REST interface as an ASGI application."""

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import os
import re

import grpc
from starlette.datastructures import Headers
from starlette.responses import Response

from serving.api.reporting import reporting
from serving.core.call import Call
from serving.errors import RequestError, explain
from serving.transport.rest_body import Body, ClientGone
from serving.transport.rest_methods import METHODS, answer, check_arrived
from serving.transport.rest_paths import API_PATH, read_path
from serving.wire.json_answers import error_text

__all__ = ["HTTP_CODES", "RestApp"]

logger = logging.getLogger(__name__)

HTTP_CODES = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
"""TensorFlow Serving's HTTP code for each gRPC code."""

_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}
_ORIGIN = re.compile(r"https?://")
_THREADS_PER_PROCESSOR = 4  # as TensorFlow Serving
_QUICK_THREADS = 2  # for status and metadata, which must not stand behind predictions
_TAKES_GZIP = re.compile(r"(?:^|,)\s*(?:x-)?gzip\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$))[^,]*)?(?:,|$)", re.IGNORECASE)


class RestApp:
    """Answers requests; what blocks runs in a bounded number of threads.

    Args:
        context: `ServingContext`.
        options: `ServerOptions`.
        page: callable that gives the metrics page as `(type, bytes)`; `None` for none.
        page_path: str, the page's path.

    Attributes:
        active: int, requests that are being read or answered.
        draining: bool. Whether clients are told to come back on another connection, to another server.
    """

    def __init__(self, context, options, page=None, page_path=None):
        self.active = 0
        self.draining = False
        self._context = context
        self._timeout = options.rest_timeout_seconds or None
        self._headers = _CORS if options.rest_cors else {}
        self._page, self._page_path = page, page_path
        threads = options.rest_threads or _THREADS_PER_PROCESSOR * (os.cpu_count() or 1)
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="rest")
        self._quick = concurrent.futures.ThreadPoolExecutor(_QUICK_THREADS, thread_name_prefix="rest-quick")
        self._calls, self._bodies = set(), set()

    async def __call__(self, scope, receive, send):
        """ASGI's interface."""
        self.active += 1
        try:
            response = await self._respond(scope, receive)
            if self.draining:
                response.headers["Connection"] = "close"
            await response(scope, receive, send)
        except ClientGone:
            pass
        finally:
            self.active -= 1

    def abandon(self):
        """Answers what still runs with `UNAVAILABLE`, now; on the loop's own thread."""
        for stop in list(self._calls):
            stop.set()
        for body in list(self._bodies):
            body.abandon()

    def close(self):
        """Ends the threads; one that is deep in a model is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._quick.shutdown(wait=False, cancel_futures=True)

    async def _respond(self, scope, receive):
        headers = Headers(scope=scope)
        path = scope["raw_path"].decode("latin-1")
        whole = path + ("?" + scope["query_string"].decode("latin-1") if scope["query_string"] else "")
        body = Body(receive, headers, self._context.admission)
        self._bodies.add(body)
        try:
            return await self._answer(scope["method"], path, whole, headers, body)
        except ClientGone:
            raise
        except Exception as error:
            code, message = explain(error)
            if code == grpc.StatusCode.INTERNAL and not isinstance(error, RequestError):
                logger.error("%s %s: %s", scope["method"], whole[:200], message)
            await body.discard()
            return self._make_response(error_text(message), HTTP_CODES.get(code, 500))
        finally:
            self._bodies.discard(body)

    async def _answer(self, method, path, whole, headers, body):
        if self._page is not None and path == self._page_path:
            return await self._answer_page(whole, body)
        if not API_PATH.fullmatch(whole):
            await body.discard()
            return self._make_response(error_text(f"Not found: {method} {whole}"), 404)
        if method == "OPTIONS":
            await body.discard()
            if not _ORIGIN.search(headers.get("origin", "")):
                message = "Origin header is missing in CORS preflight"
                raise RequestError(grpc.StatusCode.FAILED_PRECONDITION, message)
            return self._make_response(b"")
        found = read_path(method, whole)
        zipped = bool(_TAKES_GZIP.search(headers.get("accept-encoding", "")))
        if found.action in ("status", "metadata"):
            await body.discard()
            pool = self._quick
        else:
            pool = self._pool
            await self._read(body, found)
        call = Call(self._timeout, "REST")
        with self._report(call, found):
            text, zipped = await self._run(pool, body, call, answer, self._context, found, body.content, call, zipped)
        return self._make_response(text, zipped=zipped)

    async def _answer_page(self, whole, body):
        await body.discard()
        if whole != self._page_path:
            message = f"Unexpected path: {whole}. Should be {self._page_path}"
            return self._make_response(message.encode("latin-1"), 400, kind="text/plain")
        kind, page = await asyncio.get_running_loop().run_in_executor(self._quick, self._page)
        return self._make_response(page, kind=kind)

    async def _read(self, body, found):
        """Reads a body; a request that is refused here has ended too."""
        try:
            await body.read(functools.partial(check_arrived, self._context, found))
        except BaseException as error:
            body.held.close()
            body.content = bytearray()
            if isinstance(error, RequestError):
                with self._report(Call(None, "REST"), found):
                    raise
            raise

    async def _run(self, pool, body, call, work, *arguments):
        """Runs work in a thread until it is done, the client is gone, its time is over or the server ends."""
        stop = asyncio.Event()
        self._calls.add(stop)
        # The body and its room live as long as the work, however long the client waits.
        job = pool.submit(work, *arguments)
        job.add_done_callback(lambda _: body.held.close())
        waiting = asyncio.wrap_future(job)
        waiting.add_done_callback(lambda future: future.cancelled() or future.exception())
        watchers = [asyncio.create_task(body.wait_until_gone()), asyncio.create_task(stop.wait())]
        try:
            await asyncio.wait([waiting, *watchers], timeout=call.remaining(), return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
            call.cancel()
            job.cancel()
            if watchers[0].done():
                raise ClientGone
            if watchers[1].done():
                raise RequestError(grpc.StatusCode.UNAVAILABLE, "the server ends")
            raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        finally:
            self._calls.discard(stop)
            for watcher in watchers:
                watcher.cancel()

    @contextlib.contextmanager
    def _report(self, call, found):
        with reporting(self._context, call, METHODS[found.action]) as report:
            report.model = found.model
            yield

    def _make_response(self, content, code=200, kind="application/json", zipped=False):
        headers = dict(self._headers)
        if zipped:
            headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        return Response(content, code, headers, media_type=kind)
