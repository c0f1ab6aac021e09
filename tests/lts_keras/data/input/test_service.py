import collections
import contextlib
import os
import re
import signal
import subprocess
import sys

import pytest

from lts_keras.data.input.training_dataset import training_dataset
from tests.lts_keras.data.photos import SIZES, make_photo, write_photos

COMMAND = [sys.executable, "-m", "lts_keras.data.input.service"]


@contextlib.contextmanager
def running(*arguments):
    """A process of the service; killed at the end if it still runs."""
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def processor_seconds(process):
    with open(f"/proc/{process.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def words(dataset, tokenizer):
    found = collections.Counter()
    for x, _, _ in dataset:
        for ids in x["token_ids"].numpy():
            found[" ".join(tokenizer.vocabulary[number - 2] for number in ids if number)] += 1
    return found


@pytest.mark.slow
def test_two_workers_make_every_sample_once_and_stop_cleanly(tmp_path):
    photos = [make_photo(number, SIZES[number % len(SIZES)]) for number in range(24)]
    tokenizer = write_photos(tmp_path, photos, num_shards=6)
    expected = collections.Counter(
        line for photo in photos for item in photo.objects if item.split == "train" for line in item.expressions
    )
    with contextlib.ExitStack() as stack:
        dispatcher = stack.enter_context(running("dispatcher", "--port", "0"))
        address = re.fullmatch(r"dispatcher: (grpc://localhost:\d+)\n", dispatcher.stdout.readline())[1]
        join = ("worker", "--dispatcher", address.removeprefix("grpc://"))
        workers = [stack.enter_context(running(*join)) for _ in range(2)]
        assert all(worker.stdout.readline().startswith("worker of localhost") for worker in workers)
        dataset = training_dataset(
            tmp_path, tokenizer, image_size=64, batch_size=5, sampling="per_expression", service=address
        )
        before = {worker.pid: processor_seconds(worker) for worker in workers}
        for _ in range(2):
            assert words(dataset, tokenizer) == expected
        repeated = training_dataset(
            tmp_path, tokenizer, image_size=64, batch_size=5, sampling="per_ref", repeat=True, epochs=2, service=address
        )
        # 60 refs an epoch of 24 photos; whole batches, which end behind the second epoch.
        assert [len(x["token_ids"]) for x, _, _ in repeated] == [5] * 24
        # Idle workers use next to nothing, so both took part in reading.
        assert all(processor_seconds(worker) > before[worker.pid] for worker in workers)
        for process in (*workers, dispatcher):
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            assert "stopped" in process.stdout.read()


def test_worker_without_dispatcher_ends_with_one_line():
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([*COMMAND, "worker"], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 2 and "--dispatcher" in done.stderr
