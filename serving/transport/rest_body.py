"""The body of a request: room is found for each part of it before it is kept, and for what a gzip file holds too."""

import asyncio
import contextlib

import grpc

from serving.errors import RequestError, invalid_argument, resource_exhausted
from serving.transport.inflate import Inflate
from serving.wire.tensors import LARGEST_MESSAGE_BYTES

__all__ = ["Body", "ClientGone"]

_BLOCK = 1 << 20
_FIRST_CHECK_BYTES = 8 << 20
_SECONDS_TO_SEND = 30  # a client that sends nothing for so long is cut off
_LONGEST_DISCARDING = 10.0  # seconds


class ClientGone(RequestError):
    """The client closed the connection; nobody is left to be answered."""

    def __init__(self):
        super().__init__(grpc.StatusCode.CANCELLED, "the client has gone")


class Body:
    """Reads one body as it arrives.

    Args:
        receive: ASGI's callable.
        headers: mapping of the request's headers, names in small letters.
        admission: `Admission`.

    Attributes:
        content: bytearray of what was read.
        held: `contextlib.ExitStack` that holds the room; whoever uses the content closes it.
    """

    def __init__(self, receive, headers, admission):
        self.content = bytearray()
        self.held = contextlib.ExitStack()
        self._receive = receive
        self._admission = admission
        self._length = headers.get("content-length", "")
        self._encoding = headers.get("content-encoding", "").strip().lower()
        self._waits = headers.get("expect", "").lower() == "100-continue"  # and sends nothing before it is asked to
        self._received = self._room = 0
        self._next_check = _FIRST_CHECK_BYTES
        self._complete = self._silent = self._abandoned = False
        self._patience = None  # `asyncio.timeout` of the part that is waited for

    async def read(self, check):
        """Reads it all into `content`.

        Args:
            check: callable that is given the content so far, now and then, and raises `RequestError` for one that will
                be refused whatever follows.

        Raises:
            RequestError: `RESOURCE_EXHAUSTED` if there is no room or it is too large, `INVALID_ARGUMENT` for a damaged
                gzip file, `DEADLINE_EXCEEDED` if it does not arrive.
            ClientGone: if the connection is closed meanwhile.
        """
        inflate = self._make_inflate()
        if self._length.isdigit() and int(self._length[:20]) > LARGEST_MESSAGE_BYTES:
            raise _too_large(self._length)
        while not self._complete:
            chunk = await self._next()
            self._received += len(chunk)
            for piece in (chunk,) if inflate is None else inflate(chunk):
                self._take(piece)
                if len(self.content) >= self._next_check:
                    check(self.content)
                    self._next_check = 2 * len(self.content)
        if inflate is not None and not inflate.ended:
            raise invalid_argument("the body is no whole gzip file")

    async def discard(self):
        """Reads the rest and keeps nothing: a client that still sends would not see the answer to its request.

        Raises:
            ClientGone: if the connection is closed meanwhile.
        """
        if self._complete or self._waits or self._silent:
            return
        try:
            async with asyncio.timeout(_LONGEST_DISCARDING):
                size = self._received
                while not self._complete and size <= LARGEST_MESSAGE_BYTES:
                    size += len(await self._next())
        except ClientGone:
            raise
        except (RequestError, TimeoutError):  # it has waited long enough, and is answered now
            pass

    def abandon(self):
        """The server ends: what has not arrived yet is waited for no longer."""
        self._abandoned = True
        if self._patience is not None:
            with contextlib.suppress(RuntimeError):  # it has just run out by itself
                self._patience.reschedule(asyncio.get_running_loop().time())

    async def wait_until_gone(self):
        """Returns when the client has closed the connection."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _next(self):
        self._waits = False
        try:
            async with asyncio.timeout(0 if self._abandoned else _SECONDS_TO_SEND) as self._patience:
                message = await self._receive()
        except TimeoutError:
            self._silent = True
            if self._abandoned:
                raise RequestError(grpc.StatusCode.UNAVAILABLE, "the server ends") from None
            words = "the body did not arrive in time"
            raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, words) from None
        finally:
            self._patience = None
        if message["type"] == "http.disconnect":
            raise ClientGone
        self._complete = not message.get("more_body", False)
        return message.get("body", b"")

    def _take(self, piece):
        size = len(self.content) + len(piece)
        if size > LARGEST_MESSAGE_BYTES:
            raise _too_large(f"more than {LARGEST_MESSAGE_BYTES}")
        if size > self._room:
            more = max(size - self._room, min(_BLOCK, self._expected() - self._room))
            self.held.enter_context(self._admission.receiving(more))
            self._room += more
        self.content += piece

    def _expected(self):
        return int(self._length[:20]) if self._length.isdigit() and not self._encoding else _BLOCK

    def _make_inflate(self):
        if "gzip" in self._encoding:
            return Inflate("body")
        if self._encoding not in ("", "identity"):
            raise invalid_argument(f"Content-Encoding {self._encoding[:100]!r} is none of gzip and identity")
        return None


def _too_large(size):
    return resource_exhausted(f"a body of {size} bytes; {LARGEST_MESSAGE_BYTES} are the most")
