"""What compressed requests hold, piece by piece, so that each is bounded before memory is given for it."""

import contextlib
import zlib

import grpc

from serving.errors import invalid_argument, resource_exhausted
from serving.wire.tensors import LARGEST_MESSAGE_BYTES

__all__ = ["Inflate", "InflateSmall", "inflated"]

_BLOCK = 1 << 20
_FREE_BYTES = 16 << 20
_MOST_TIMES = 20  # beyond the free bytes: JSON of pictures shrinks to a third or so
_MOST_FILES = 10_000  # one behind the other: each takes as long as a large piece of one
_SMALL_BYTES = 1 << 20
_FED_BYTES = 1 << 16
_GZIP_WINDOW, _ZLIB_WINDOW = 31, 15  # zlib's words for the two formats


class Inflate:
    """Gives what a gzip or zlib file holds; several files behind each other are one.

    Args:
        what: str for messages, what the file is: `"body"`, `"message"`.
        wbits: int, the format as `zlib.decompressobj` takes it.
        most_bytes: int, refuses a file that holds more.
    """

    def __init__(self, what, wbits=_GZIP_WINDOW, most_bytes=LARGEST_MESSAGE_BYTES):
        self._what, self._wbits, self._most_bytes = what, wbits, most_bytes
        self._received = self._size = 0
        self._file = zlib.decompressobj(wbits=wbits)
        self._begun = False
        self._files = 1

    @property
    def ended(self):
        """Whether the last file is whole."""
        return self._file.eof or not self._begun

    def __call__(self, chunk):
        """Yields what the next bytes of the file hold, in pieces of at most 1 MiB.

        Raises:
            RequestError: `INVALID_ARGUMENT` for what is no such file, `RESOURCE_EXHAUSTED` for one that is much larger
                inside than outside.
        """
        self._received += len(chunk)
        while chunk:
            if self._file.eof:
                self._files += 1
                if self._files > _MOST_FILES:
                    raise resource_exhausted(f"the {self._what} is more than {_MOST_FILES} gzip files; send it as one")
                self._file = zlib.decompressobj(wbits=self._wbits)
            self._begun = True
            try:
                piece = self._file.decompress(chunk, _BLOCK)
            except zlib.error as error:
                raise invalid_argument(f"the {self._what} is no gzip file: {error}") from None
            self._size += len(piece)
            self._check()
            yield piece
            chunk = self._file.unused_data if self._file.eof else self._file.unconsumed_tail

    def _check(self):
        if self._size > self._most_bytes:
            raise resource_exhausted(f"the {self._what} holds more than {self._most_bytes} bytes", final=True)
        if self._size > _FREE_BYTES and self._size > _MOST_TIMES * self._received:
            raise resource_exhausted(
                f"the {self._received} bytes of the gzip file hold more than {self._size} bytes, over {_MOST_TIMES} "
                "times as many; send it as it is",
                final=True,
            )


@contextlib.contextmanager
def inflated(content, admission):
    """Gives the bytes of a gRPC message within the block, with room held for them if it came compressed.

    gRPC itself would inflate a message of any size before anybody can look at it, so the server has it leave messages
    as they are (`grpc.per_message_decompression`), and tells compressed ones by how they begin: no request does so.

    Args:
        content: bytes, as they arrived.
        admission: `Admission`.

    Raises:
        RequestError: as `Inflate`; `RESOURCE_EXHAUSTED` if there is no room.
    """
    wbits = _format_of(content)
    if wbits is None:
        yield content
        return
    with contextlib.ExitStack() as held:
        whole = bytearray()
        for piece in _pieces(content, wbits, LARGEST_MESSAGE_BYTES):
            held.enter_context(admission.receiving(len(piece)))
            whole += piece
        yield bytes(whole)


class InflateSmall(grpc.ServerInterceptor):
    """Inflates the requests of services that parse them themselves, such as health: at most 1 MiB."""

    def intercept_service(self, continuation, handler_call_details):
        """Puts itself before the parsing of the method that was called."""
        handler = continuation(handler_call_details)
        if handler is None or handler.request_deserializer is None:
            return handler
        parse = handler.request_deserializer
        return handler._replace(request_deserializer=lambda content: parse(_small(content)))


def _small(content):
    wbits = _format_of(content)
    return content if wbits is None else b"".join(_pieces(content, wbits, _SMALL_BYTES))


def _pieces(content, wbits, most_bytes):
    inflate = Inflate("message", wbits, most_bytes)
    for start in range(0, len(content), _FED_BYTES):  # all at once, what is left would be copied for every piece
        yield from inflate(content[start : start + _FED_BYTES])
    if not inflate.ended:
        raise invalid_argument("the message is no whole gzip file")


def _format_of(content):
    """The format of a compressed message; `None` for one that is not, as it comes from most clients."""
    if content[:3] == b"\x1f\x8b\x08":  # of a type of field that there is not
        return _GZIP_WINDOW
    if content[:1] == b"\x78" and int.from_bytes(content[:2], "big") % 31 == 0:  # a field that no request has
        return _ZLIB_WINDOW
    return None
