"""gRPC's reflection service, so that tools such as grpcurl need no protocol files."""

from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection

from serving.wire.protos import PROTO_SET

__all__ = ["add_reflection"]


def add_reflection(server, services):
    """Adds the service to a `grpc.Server`.

    Args:
        server: `grpc.Server`.
        services: full names of the other services that it has.
    """
    # The messages of these services are in a pool of their own, which lacks those of health.
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(PROTO_SET.read_bytes()).file:
        pool.Add(file)
    pool.AddSerializedFile(health_pb2.DESCRIPTOR.serialized_pb)
    reflection.enable_server_reflection([*services, reflection.SERVICE_NAME], server, pool=pool)
