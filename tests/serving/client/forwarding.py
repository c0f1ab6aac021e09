"""Another address of a running server: TLS or a socket in front of it, as a proxy of a cluster is."""

import concurrent.futures
import contextlib

import grpc


class _Forward(grpc.GenericRpcHandler):
    def __init__(self, channel):
        self._channel = channel

    def service(self, call):
        method = self._channel.unary_unary(call.method)

        def answer(request, context):
            try:
                return method(request, timeout=context.time_remaining())
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())

        return grpc.unary_unary_rpc_method_handler(answer)


@contextlib.contextmanager
def forwarding(target, address="127.0.0.1:0", credentials=None):
    """Forwards what comes to `address`, over TLS with `grpc.ServerCredentials`; yields the address."""
    with grpc.insecure_channel(target) as channel, concurrent.futures.ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers((_Forward(channel),))
        port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        server.start()
        try:
            yield address.replace(":0", f":{port}")
        finally:
            server.stop(0).wait()
