"""A gRPC server that answers as a script says: the other side of the client's retries."""

import concurrent.futures
import contextlib

import grpc

from serving.wire import protos


class Scripted(grpc.GenericRpcHandler):
    """Answers `GetModelStatus`: each entry of the script is a status code, one with details and metadata, or `None` for
    an answer. When the script is over, it answers.

    Attributes:
        times_left: list of float, the seconds that each request had left when it came.
    """

    def __init__(self, script):
        self.script, self.times_left = list(script), []

    def service(self, call):
        method = call.method.rpartition("/")[2]
        kinds = protos.method_types("tensorflow.serving.ModelService").get(method)
        if kinds is None:
            return None
        return grpc.unary_unary_rpc_method_handler(
            self._answer, kinds[0].FromString, lambda message: message.SerializeToString()
        )

    def _answer(self, request, context):
        self.times_left.append(context.time_remaining())
        entry = self.script.pop(0) if self.script else None
        if entry is not None:
            code, details, metadata = entry if isinstance(entry, tuple) else (entry, "scripted", ())
            context.set_trailing_metadata(metadata)
            context.abort(code, details)
        response = protos.GetModelStatusResponse()
        response.model_version_status.add(version=5, state="AVAILABLE")
        return response


@contextlib.contextmanager
def scripted_server(*script, address="127.0.0.1:0", credentials=None):
    """Listens at `address`, with `grpc.ServerCredentials` over TLS; yields `(target, Scripted)`."""
    handler = Scripted(script)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers((handler,))
        port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        server.start()
        try:
            yield address.replace(":0", f":{port}"), handler
        finally:
            server.stop(0).wait()
