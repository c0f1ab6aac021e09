"""A year of hot swaps: threads and memory stay as they are."""

import json
import subprocess
import sys

from tests.conftest import ROOT
from tests.serving.other_models import write_batching

MIB = 2**20


def test_sixty_swaps_leave_no_thread_and_no_memory(base, tmp_path):
    # A batching queue in the graph has a thread, which belongs to the model.
    queued = write_batching(tmp_path / "queued", offset=5.0)
    command = [sys.executable, "-m", "tests.serving.core.swapping", queued, base, "70"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (early, memory), (late, late_memory), (closed, _) = json.loads(done.stdout).values()
    assert late <= early
    assert closed < late
    # Models that stay hold six megabytes each, with the threads of their queues.
    assert late_memory - memory < 20 * MIB, (memory, late_memory)
