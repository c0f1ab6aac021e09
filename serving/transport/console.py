"""The log of a server: what the stream of events tells, a line each."""

import logging

from serving.core.events import Draining, FolderPassedOver, LookFailed, VersionChanged

__all__ = ["log_event"]

logger = logging.getLogger("serving")

_LINES = {10: "Found", 20: "Loading", 30: "Serving", 40: "Unloading", 50: "Dropped"}  # by `ModelVersionStatus.State`


def log_event(event):
    """Writes a line for a change of a version, a folder that is passed over or cannot be read, and the end.

    Args:
        event: any of `serving.core.events`.
    """
    if isinstance(event, VersionChanged):
        if event.error_code:
            logger.error("Loading %s version %d failed: %s", event.model, event.version, event.error_message)
        else:
            took = "" if event.seconds is None else f", loaded in {event.seconds:.1f} s"
            logger.info("%s %s version %d%s", _LINES.get(event.state, event.state), event.model, event.version, took)
    elif isinstance(event, FolderPassedOver):
        logger.warning("%s: passed over %s: %s", event.model, event.path, event.reason)
    elif isinstance(event, LookFailed):
        logger.error("%s: cannot look at %s, what is served stays: %s", event.model, event.path, event.reason)
    elif isinstance(event, Draining):
        logger.info("Stopping: health says NOT_SERVING, running requests have %g s", event.seconds)
