"""What every request needs, whichever transport brings it."""

import dataclasses
from collections.abc import Callable

__all__ = ["ServingContext", "run_servable"]


def run_servable(servable, signature_name, inputs, outputs, timeout=None):
    """Runs a signature as it is.

    Args:
        servable: `Servable`.
        signature_name: str.
        inputs: dict of arrays by name.
        outputs: names of what is wanted.
        timeout: float, seconds; `None` for no limit.

    Returns:
        dict of arrays by name.
    """
    return servable.run(signature_name, inputs, outputs, timeout=timeout)


def _no_metric(name):
    return 0


@dataclasses.dataclass
class ServingContext:
    """The parts of a server that answer requests.

    Attributes:
        manager: `Manager`, the models.
        admission: `Admission`, the bound of all transports together.
        events: `Events`; the end of each request is told here.
        options: `ServerOptions`.
        run: callable like `run_servable`: the one place where a model is run for a request.
        metric_value: callable from the name of a metric to its value, 0 for one that is not there.
    """

    manager: object
    admission: object
    events: object
    options: object
    run: Callable = run_servable
    metric_value: Callable = _no_metric
