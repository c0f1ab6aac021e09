"""Errors of requests, with the gRPC status codes that TensorFlow Serving gives, and of a server that cannot start."""

import re

import grpc

__all__ = [
    "RequestError",
    "ServingError",
    "StartError",
    "UsageError",
    "explain",
    "invalid_argument",
    "not_found",
    "resource_exhausted",
]

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_LONGEST = 1000
_PREAMBLE = re.compile(
    r"^(Graph execution error:\s*)?"
    r"(Detected at node [^\n]*\(most recent call last\):\n(<stack traces unavailable>\n|( [^\n]*\n)*)\s*)?"
    r"(\d+ root error\(s\) found\.\s*)?(\(\d+\) \w+: )?"
)


class RequestError(Exception):
    """A request that cannot be answered.

    Attributes:
        code: `grpc.StatusCode` for the client.
        message: str, one line.
        final: bool. Whether the same request would be refused at any time, though its code is that of a busy server.
    """

    def __init__(self, code, message, final=False):
        super().__init__(message)
        self.code = code
        self.message = message
        self.final = final


class UsageError(RuntimeError):
    """What the caller of a command can mend: a flag, a file, a photo."""

    exit_code = 2


class StartError(RuntimeError):
    """A server that cannot start, for a reason the caller can mend: a port in use, a folder that is not there."""

    exit_code = 2


class ServingError(RuntimeError):
    """A request of a client that was not answered.

    Attributes:
        code: `grpc.StatusCode`.
    """

    exit_code = 1

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def invalid_argument(message):
    """Returns the error of a request that is wrong in itself."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message):
    """Returns the error of a request for what is not there."""
    return RequestError(grpc.StatusCode.NOT_FOUND, message)


def resource_exhausted(message, final=False):
    """Returns the error of a request that there is no room for; now, or, if `final`, ever."""
    return RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, message, final)


def explain(error):
    """The gRPC status of any error.

    Args:
        error: an exception: `RequestError`, an error of a TensorFlow operator (its codes are gRPC's), or any other,
            which is the server's own fault.

    Returns:
        `(grpc.StatusCode, str)`; the text is one line of at most 1000 characters.
    """
    if isinstance(error, RequestError):
        return error.code, _one_line(error.message)
    code = _CODES.get(getattr(error, "error_code", None), grpc.StatusCode.INTERNAL)
    message = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
    return code, _one_line(message)


def _one_line(message):
    """The first statement of an operator's error, without the graph's node names and Python's call stack."""
    message = re.sub(r"^(\{\{[^{}]*\}\}\s*)+", "", _PREAMBLE.sub("", message))  # {{function_node ...}}
    message = re.split(r"\s*\[\[\{\{|\s*\[Op:|\n\s*Detected at node", message)[0]
    message = re.sub(r"^assertion failed: \[(.*?)\] ", r"\1 ", message)
    message = " ".join(message.split()) or "no message"
    return message if len(message) <= _LONGEST else message[: _LONGEST - 1] + "…"
