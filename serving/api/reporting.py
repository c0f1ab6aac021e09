"""The end of each request, told once: answered or refused, over gRPC or REST."""

import contextlib
import dataclasses
import logging
import time

import grpc

from serving.core.events import RequestEnded
from serving.errors import explain

__all__ = ["Report", "reporting"]

logger = logging.getLogger(__name__)

_CLOCKS_APART = 0.1  # seconds: a client's own clock ends a call shortly before the server's


@dataclasses.dataclass
class Report:
    """What is known of a request so far; the attributes are those of `RequestEnded`."""

    model: str = ""
    version: int | None = None
    signature: str = ""
    rows: int = 0
    request: object = None
    response: object = None


@contextlib.contextmanager
def reporting(context, call, method):
    """Tells the end of a request, when the outermost block of its call ends.

    A transport opens the block before it reads a request, so that what it refuses is told as well; the methods open it
    again and fill in what they learn.

    Args:
        context: `ServingContext`.
        call: `Call`.
        method: str, for example `"Predict"`.

    Yields:
        `Report`, the call's own.
    """
    if call.report is not None:
        yield call.report
        return
    report = call.report = Report()
    code = grpc.StatusCode.OK
    try:
        yield report
    except Exception as error:
        code = explain(error)[0]
        if code == grpc.StatusCode.INTERNAL:
            logger.exception("%s failed", method)
        raise
    finally:
        context.events.emit(
            RequestEnded(
                model=report.model,
                version=report.version,
                signature=report.signature,
                method=method,
                transport=call.transport,
                code=_seen_code(call, code),
                seconds=time.monotonic() - call.started,
                rows=report.rows,
                request=report.request,
                response=report.response,
            )
        )


def _seen_code(call, code):
    """What the client sees: an answer that comes too late is none, and who leaves as his deadline passes was late."""
    remaining = call.remaining()
    if code == grpc.StatusCode.CANCELLED and remaining is not None and remaining < _CLOCKS_APART:
        return grpc.StatusCode.DEADLINE_EXCEEDED
    if code == grpc.StatusCode.OK and remaining == 0:
        return grpc.StatusCode.DEADLINE_EXCEEDED
    return grpc.StatusCode.CANCELLED if code == grpc.StatusCode.OK and call.cancelled else code
