"""A year of hot swaps: threads and memory stay as they are."""

import gc
import itertools
import os

import numpy as np
import pytest

from serving.core.manager import END
from tests.serving.core.model_folders import OPTIONS, Watched, publish, spec, wait_for
from tests.serving.other_models import write_batching

MIB = 2**20


def count_threads():
    return len(os.listdir("/proc/self/task"))


def resident_bytes():
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def queued(tmp_path_factory):
    """Folder of a SavedModel with a batching queue in its graph, whose thread belongs to the model."""
    return write_batching(tmp_path_factory.mktemp("queued") / "model", offset=5.0)


def swap(watched, base, source, version):
    publish(source, base, version)
    watched.manager.refresh()
    with watched.manager.lease(spec()) as servable:
        assert servable.version == version
        outputs = servable.run("serving_default", {"x": np.float32([1, 2])}, ["y"])
    np.testing.assert_array_equal(outputs["y"], [6, 7])
    wait_for(lambda: version == 1 or watched.state(version - 1) == END)


def test_sixty_swaps_leave_no_thread_and_no_memory(base, queued):
    with Watched(base, OPTIONS) as watched:
        numbers = itertools.count(1)
        for _ in range(10):  # pools that TensorFlow and the allocator make once
            swap(watched, base, queued, next(numbers))
        threads, memory = count_threads(), resident_bytes()
        for _ in range(60):
            swap(watched, base, queued, next(numbers))
        assert count_threads() <= threads + 2
        # Models that stay hold six megabytes each, with the threads of their queues.
        assert resident_bytes() - memory < 60 * MIB


def test_a_closed_manager_gives_the_threads_of_its_models_back(base, queued):
    publish(queued, base, 1)
    before = count_threads()
    with Watched(base) as watched:
        watched.manager.refresh()
        with watched.manager.lease(spec()) as servable:
            servable.run("serving_default", {"x": np.float32([1])}, ["y"])
        assert count_threads() > before
    wait_for(lambda: watched.state(1) == END)
    wait_for(lambda: count_threads() <= before)
