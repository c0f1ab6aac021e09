import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from lts_keras.export.batch_queue import BatchQueue

SPEC = tf.TensorSpec((None, 3))


class Doubling:
    """A queue for a function that doubles rows, notes how many it was given, and stands still at first."""

    def __init__(self, batch_sizes, timeout_micros=2000):
        self.batches, self.started, self.go_on = [], threading.Event(), threading.Event()
        queue = BatchQueue(self._double, [SPEC], f"doubling_{batch_sizes}", batch_sizes, timeout_micros)
        self._call = tf.function(lambda rows: queue(rows)[0], input_signature=[SPEC])

    def _double(self, rows):
        doubled = tf.numpy_function(self._note, [rows], tf.float32)
        doubled.set_shape((None, 3))
        return [doubled]

    def _note(self, rows):
        self.batches.append(len(rows))
        self.started.set()
        assert self.go_on.wait(60)
        return rows * 2

    def __call__(self, count, value):
        rows = np.full((count, 3), value, "float32")
        np.testing.assert_array_equal(self._call(tf.constant(rows)), rows * 2)


def behind_one(queue, counts):
    """Asks for so many rows each, at a time, while a first request of one row runs; returns the batches' sizes."""
    with ThreadPoolExecutor(1 + len(counts)) as pool:
        running = [pool.submit(queue, 1, 0)]
        assert queue.started.wait(60)
        running += [pool.submit(queue, count, number) for number, count in enumerate(counts, 1)]
        queue.go_on.set()
        for request in running:
            request.result(60)
    return queue.batches


def test_requests_that_wait_together_are_not_filled_up():
    batches = behind_one(Doubling((1, 2, 4, 8)), [1] * 7)
    assert set(batches) <= {1, 2, 4, 8}
    assert sum(batches) == 8  # filled up to the next size, seven would run as eight


def test_fewer_rows_than_the_smallest_batch_are_filled_up():
    assert behind_one(Doubling((4,)), [1, 1, 1]) in ([4, 4], [4, 4, 4], [4, 4, 4, 4])


def test_a_request_of_many_rows_runs_in_parts_and_comes_back_whole():
    assert behind_one(Doubling((1, 2, 4)), [9]) == [1, 4, 4, 1]
