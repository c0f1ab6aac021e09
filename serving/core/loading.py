"""From a folder to a servable that is ready to answer."""

import time

from serving.core.servable import Servable
from serving.core.warm_up import warm_up

__all__ = ["load_servable"]


def load_servable(folder, name, version, options):
    """Loads a SavedModel and runs its recorded requests.

    Args:
        folder, name, version, options: as for `Servable`.

    Returns:
        `Servable`, with `warm_up_seconds`, how long its recorded requests took; `None` if it carries none.

    Raises:
        Exception: as `Servable`; or what a recorded request fails with, as in TensorFlow Serving: a model that cannot
            answer its own examples is not served.
    """
    servable = Servable(folder, name, version, options)
    try:
        servable.warm_up_seconds, started = None, time.monotonic()
        if options.enable_model_warmup and warm_up(servable, max(1, options.num_request_iterations_for_warmup)):
            servable.warm_up_seconds = time.monotonic() - started
    except BaseException:
        servable.close()
        raise
    return servable
