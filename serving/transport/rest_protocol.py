"""HTTP connections with bounds: how long a head, how many requests at a time, how long in silence."""

import json

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

__all__ = ["BoundedProtocol"]

_MOST_CONNECTIONS = 2000
_LONGEST_HEAD = 64 << 10  # bytes of a request's line and headers
_MOST_WAITING = 16  # requests that a client sends before the answer to its first
_MOST_PASSED_OVER = 8 << 20  # bytes that come after a refusal
_SECONDS_TO_READ = 2  # the refusal
_LOOK_SECONDS = 10
_SILENT_SECONDS = 30  # in the middle of a head, or of an answer that is not fetched


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which bounds none of these."""

    def connection_made(self, transport):
        """A client has come."""
        super().connection_made(transport)
        self._in_head, self._head_bytes, self._unsent, self._refused = True, 0, 0, False
        self._heard = self._sent = self.loop.time()
        self._looking = self.loop.call_later(_LOOK_SECONDS, self._look)
        if len(self.connections) > _MOST_CONNECTIONS:
            self._refuse(503, "too many connections")

    def connection_lost(self, exc):
        """The client is gone."""
        self._looking.cancel()
        super().connection_lost(exc)

    def data_received(self, data):
        """A part of a request has come."""
        self._heard = self.loop.time()
        self._head_bytes += len(data)
        if self._refused:
            if self._head_bytes > _MOST_PASSED_OVER:
                self.transport.abort()
            return
        super().data_received(data)
        if self._in_head and self._head_bytes > _LONGEST_HEAD and not self._refused:
            self._refuse(431, f"the head of the request is longer than {_LONGEST_HEAD} bytes")

    def on_headers_complete(self):
        """The head is whole."""
        self._in_head = False
        if len(self.pipeline) >= _MOST_WAITING:
            raise ValueError("too many requests before the first is answered")
        super().on_headers_complete()

    def on_message_complete(self):
        """The body is whole."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_complete()

    def send_400_response(self, msg):
        """Answers what is no HTTP, in the form of all errors."""
        self._refuse(400, msg)

    @property
    def busy(self):
        """Whether a request is on its way, in or out."""
        answering = self.cycle is not None and not self.cycle.response_complete
        return answering or self._head_bytes > 0 or self.transport.get_write_buffer_size() > 0

    def silent_for(self):
        """Returns the seconds since something came."""
        return self.loop.time() - self._heard

    def _refuse(self, code, message):
        for cycle in (self.cycle, *(waiting for waiting, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.pipeline.clear()
        content = json.dumps({"error": message}).encode()
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(content)
        self.transport.write(STATUS_LINE[code] + head + content)
        # A connection that is closed on a client that still sends is reset, and the answer lost.
        self._refused = True
        self.transport.write_eof()
        self.loop.call_later(_SECONDS_TO_READ, self.transport.abort)

    def _look(self):
        """Cuts off a client that keeps a connection busy and does nothing on it."""
        now, unsent = self.loop.time(), self.transport.get_write_buffer_size()
        if not unsent or unsent != self._unsent:
            self._unsent, self._sent = unsent, now
        reading = self.cycle is not None and not self.cycle.response_complete  # the application has its own patience
        if now - self._sent > _SILENT_SECONDS:
            self.transport.abort()
        elif not reading and (self._head_bytes or self.cycle is None) and self.silent_for() > _SILENT_SECONDS:
            self.transport.close()
        self._looking = self.loop.call_later(_LOOK_SECONDS, self._look)
