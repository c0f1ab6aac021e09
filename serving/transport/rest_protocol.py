"""HTTP connections with bounds: how long a head, how many requests at a time, how long in silence."""

import json

import httptools
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
        self._cycles = []  # requests that are not answered yet; uvicorn remembers the latest alone
        self._heard = self._sent = self.loop.time()
        self._looking = self.loop.call_later(_LOOK_SECONDS, self._look)
        if len(self.connections) > _MOST_CONNECTIONS:
            self._refuse(503, "too many connections")

    def connection_lost(self, exc):
        """The client is gone."""
        self._looking.cancel()
        self._give_up_requests()
        super().connection_lost(exc)

    def data_received(self, data):
        """A part of a request has come."""
        self._heard = self.loop.time()
        self._head_bytes += len(data)
        if self._refused:
            if self._head_bytes > _MOST_PASSED_OVER:
                self.transport.abort()
            return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as end_of_head:
            self._stay_with_http(data[end_of_head.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        if self._in_head and self._head_bytes > _LONGEST_HEAD and not self._refused:
            self._refuse(431, f"the head of the request is longer than {_LONGEST_HEAD} bytes")

    def on_headers_complete(self):
        """The head is whole."""
        if self.parser.should_upgrade():  # then it comes once more, without this wish
            return
        self._in_head = False
        if len(self.pipeline) >= _MOST_WAITING:
            raise ValueError("too many requests before the first is answered")
        super().on_headers_complete()
        self._cycles = [cycle for cycle in self._cycles if not cycle.response_complete] + [self.cycle]
        if len(self.pipeline) < _MOST_WAITING // 2:  # uvicorn would read no more, and not see that the client goes
            self.flow.resume_reading()

    def on_message_complete(self):
        """The body is whole."""
        if self.parser.should_upgrade():
            return
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

    def _stay_with_http(self, rest):
        """Reads a request as if it did not ask for another protocol: Java's client asks for HTTP/2 by itself
        (`Upgrade: h2c`) and takes either. The parser stops behind such a head, and would take the body for none.

        Args:
            rest: bytes that came behind the head.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self.send_400_response("Invalid HTTP request received.")
            return
        lines = [b" ".join((method, self.url, b"HTTP/" + self.parser.get_http_version().encode()))]
        lines += [b": ".join(header) for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._head_bytes = 0
        self.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    def _give_up_requests(self):
        """Nobody is left to be answered: whoever works for this connection is told so."""
        for cycle in self._cycles:
            if not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self._cycles.clear()
        self.pipeline.clear()

    def _refuse(self, code, message):
        self._give_up_requests()
        content = json.dumps({"error": message}).encode()
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(content)
        self.transport.write(STATUS_LINE[code] + head + content)
        # A connection that is closed on a client that still sends is reset, and the answer lost.
        self._refused = True
        self.transport.write_eof()
        self.flow.resume_reading()  # else it would not be seen to go
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
