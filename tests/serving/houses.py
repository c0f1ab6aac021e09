"""A gRPC server without the rest of a process: models, admission, events and the two services on a loopback port."""

import contextlib
import types
from pathlib import Path

import grpc

from serving.api.context import ServingContext
from serving.core.events import Events, RequestEnded
from serving.core.limits import Admission, Limits
from serving.core.manager import Manager
from serving.core.settings import ModelSettings
from serving.options import ServerOptions
from serving.transport.grpc import GrpcServer

__all__ = ["open_house"]


@contextlib.contextmanager
def open_house(models, limits=None, **options):
    """Serves models while the block runs.

    Args:
        models: dict from a model's name to its folder of versions, or to `ModelSettings`.
        limits: `Limits`.
        options: fields of `ServerOptions`.

    Yields:
        Namespace with `context`, `channel` (open), `target`, `manager`, `admission` and `ended`, the list of
        `RequestEnded` events so far.
    """
    options = ServerOptions(**{"enable_model_warmup": False, "poll_seconds": 0.0} | options)
    settings = {name: to if isinstance(to, ModelSettings) else ModelSettings(Path(to)) for name, to in models.items()}
    events, ended = Events(), []
    events.subscribe(lambda event: ended.append(event) if isinstance(event, RequestEnded) else None)
    admission = Admission(limits or Limits())
    manager = Manager(settings, options, events)
    context = ServingContext(manager, admission, events, options)
    server = GrpcServer(context, options).server
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    manager.refresh()
    server.start()
    limit = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    try:
        with grpc.insecure_channel(target, options=limit) as channel:
            yield types.SimpleNamespace(
                context=context, channel=channel, target=target, manager=manager, admission=admission, ended=ended
            )
    finally:
        server.stop(0).wait()
        manager.close()
