"""A client of the served model, for any server that speaks TensorFlow Serving's gRPC interface.

It needs grpc, numpy and Pillow alone: neither TensorFlow nor Keras.
"""

from serving.client.answers import Answer
from serving.client.async_client import AsyncClient
from serving.client.channel import read_credentials
from serving.client.client import Client
from serving.client.retries import NO_RETRIES, Retries
from serving.errors import ServingError

__all__ = ["NO_RETRIES", "Answer", "AsyncClient", "Client", "Retries", "ServingError", "read_credentials"]
