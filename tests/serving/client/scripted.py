"""A gRPC server that answers as a script says: the other side of the client's retries."""

import concurrent.futures
import contextlib

import grpc

from serving.wire import protos


class Scripted(grpc.GenericRpcHandler):
    """Answers as each entry of the script says: a status code, one with details and metadata, or `None` for an answer.
    When the script is over, it answers.

    Args:
        script: iterable of entries.
        answers: dict from a method's name to its answer.

    Attributes:
        times_left: list of float, the seconds that each request had left when it came.
    """

    def __init__(self, script, answers):
        self._script, self._answers, self.times_left = list(script), answers, []

    def service(self, call):
        answer = self._answers.get(call.method.rpartition("/")[2])
        return answer and grpc.unary_unary_rpc_method_handler(lambda request, context: self._respond(answer, context))

    def _respond(self, answer, context):
        self.times_left.append(context.time_remaining())
        entry = self._script.pop(0) if self._script else None
        if entry is not None:
            code, details, metadata = entry if isinstance(entry, tuple) else (entry, "scripted", ())
            context.set_trailing_metadata(metadata)
            context.abort(code, details)
        return answer.SerializeToString()


@contextlib.contextmanager
def scripted_server(*script, address="127.0.0.1:0", credentials=None, answers=None):
    """Listens at `address`, with `grpc.ServerCredentials` over TLS; yields `(target, Scripted)`.

    Without `answers` it answers `GetModelStatus`: version 5 is available.
    """
    status = protos.GetModelStatusResponse()
    status.model_version_status.add(version=5, state="AVAILABLE")
    handler = Scripted(script, answers or {"GetModelStatus": status})
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers((handler,))
        port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        server.start()
        try:
            yield address.replace(":0", f":{port}"), handler
        finally:
            server.stop(0).wait()
