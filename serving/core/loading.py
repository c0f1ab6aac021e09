"""From a folder to a servable that is ready to answer."""

import functools
import time

from serving.core.photo_cache import PhotoCache
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
        iterations = max(1, options.num_request_iterations_for_warmup)
        # As requests will be run, a photo through the two halves of the network; the encodings are not kept.
        run = functools.partial(PhotoCache(options.photo_cache_bytes).run, servable)
        if options.enable_model_warmup and warm_up(servable, iterations, run):
            servable.warm_up_seconds = time.monotonic() - started
    except BaseException:
        servable.close()
        raise
    return servable
