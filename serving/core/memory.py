"""Memory that models leave behind."""

import ctypes

__all__ = ["give_back_memory"]

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's


def give_back_memory():
    """Returns freed memory to the system; without it, glibc keeps several hundred MB of a load's for later ones."""
    if _trim is not None:
        _trim(0)
