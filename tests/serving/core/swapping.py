"""Swaps one model many times in a process of its own, where every thread and every byte is the models'.

`python -m tests.serving.core.swapping SAVED_MODEL BASE COUNT` prints as JSON what there was before, early and late.
"""

import gc
import json
import os
import sys
from pathlib import Path

import numpy as np

from serving.core.manager import END
from tests.serving.core.model_folders import OPTIONS, Watched, publish, spec, wait_for

EARLY = 10  # swaps, for the pools that TensorFlow and the allocator make once


def count_threads():
    return len(os.listdir("/proc/self/task"))


def resident_bytes():
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def swap(watched, base, source, version):
    publish(source, base, version)
    watched.manager.refresh()
    with watched.manager.lease(spec()) as servable:
        assert servable.version == version
        outputs = servable.run("serving_default", {"x": np.float32([1, 2])}, ["y"])
    np.testing.assert_array_equal(outputs["y"], [6, 7])
    wait_for(lambda: version == 1 or watched.state(version - 1) == END)


def main(source, base, count):
    found = {}
    with Watched(base, OPTIONS) as watched:
        for version in range(1, count + 1):
            swap(watched, base, source, version)
            if version in (EARLY, count):
                found["early" if version == EARLY else "late"] = [count_threads(), resident_bytes()]
    wait_for(lambda: watched.state(count) == END)
    # The queue of the last model goes a moment after its session.
    wait_for(lambda: count_threads() < found["late"][0])
    found["closed"] = [count_threads(), resident_bytes()]
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
