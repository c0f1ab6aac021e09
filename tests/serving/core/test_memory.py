"""Memory goes back to the system when a model is closed."""

import os

from serving.core.memory import give_back_memory
from serving.core.session import ModelSession, session_config
from serving.options import ServerOptions

MEBIBYTE = 1 << 20


def resident_bytes():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def leave_holes():
    """Frees 200 MB in pieces, with one in a thousand still there: what is left keeps the allocator from shrinking."""
    pieces = [bytes(2000) for _ in range(100_000)]
    return pieces[::1000]


def test_freed_memory_goes_back():
    kept = leave_holes()
    before = resident_bytes()
    give_back_memory()
    assert before - resident_bytes() > 100 * MEBIBYTE
    assert len(kept) == 100


def test_a_closed_model_gives_memory_back(half_plus_two):
    session = ModelSession(half_plus_two, ["serve"], session_config(ServerOptions()))
    kept = leave_holes()
    before = resident_bytes()
    session.close()
    assert before - resident_bytes() > 100 * MEBIBYTE
    assert len(kept) == 100
