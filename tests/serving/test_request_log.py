"""The request log: what is in it, how large it gets, and that nothing waits for it."""

import base64
import concurrent.futures
import dataclasses
import hashlib
import json
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import urllib.request

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import prediction_log_pb2

from serving.client import Client, ServingError
from serving.core.events import Draining, RequestEnded
from serving.core.settings import settings_from_proto
from serving.errors import StartError
from serving.options import RequestLogSettings
from serving.server import Server
from serving.transport.log_files import LogFiles
from serving.transport.request_log import QUEUE_RECORDS, RequestLog
from serving.wire import protos
from serving.wire.tensors import from_array
from tests.conftest import ROOT, run_python
from tests.serving.conftest import OPTIONS
from tests.small_models import photo_bytes

EXPRESSIONS = ["the left dog", "red"]


def read(folder):
    """All records in a folder, read by TensorFlow and by TensorFlow Serving's own message."""
    paths = sorted(map(str, folder.glob("*.tfrecord")))
    return [prediction_log_pb2.PredictionLog.FromString(record.numpy()) for record in tf.data.TFRecordDataset(paths)]


def ended(number=0, photo=b"\xff\xd8\xff photo", code=grpc.StatusCode.OK, model="lts", size=0):
    request = protos.PredictRequest()
    request.inputs["image_bytes"].CopyFrom(from_array(np.array([photo + bytes(size)], object)))
    request.inputs["number"].CopyFrom(from_array(np.array([number], np.int64)))
    response = protos.PredictResponse()
    response.outputs["score"].CopyFrom(from_array(np.array([0.5], np.float32)))
    return RequestEnded(model, 3, "serving_default", "Predict", "GRPC", code, 0.01, 1, request, response)


def numbers(records):
    return [record.predict_log.request.inputs["number"].int64_val[0] for record in records]


def settings(folder, **changes):
    return RequestLogSettings(**{"path": folder / "log", "sampling_rate": 1.0, "photos": True} | changes)


@pytest.fixture
def log(tmp_path):
    """Makes request logs in a folder of the test; all are stopped."""
    made = []

    def make(start=True, **changes):
        extras = {name: changes.pop(name) for name in ("models", "file_seconds") if name in changes}
        made.append(RequestLog(settings(tmp_path, **changes), **extras))
        return made[-1].start() if start else made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture(scope="module")
def served_logs(saved_models, tmp_path_factory):
    """Folders with the logs of one server that was asked over gRPC and REST: with photos, and without."""
    folder = tmp_path_factory.mktemp("logged")
    (folder / "served").mkdir()
    (folder / "served" / "7").symlink_to(saved_models.first.folder)
    logged = dataclasses.replace(OPTIONS, request_log=settings(folder / "with"), rest_port=0)
    without = RequestLog(settings(folder / "without", photos=False)).start()
    with Server({"lts": folder / "served"}, logged) as server:
        server.events.subscribe(without)
        with Client(f"127.0.0.1:{server.port}", timeout=30) as client:
            client.segment(photo_bytes(seed=1), EXPRESSIONS)
            with pytest.raises(ServingError):
                client.segment(b"junk", EXPRESSIONS)
            client.status()
            client.metadata()
        inputs = {"image_bytes": [{"b64": base64.b64encode(photo_bytes(seed=2)).decode()}], "expression": ["a dog"]}
        body = json.dumps({"signature_name": "segment_expressions", "inputs": inputs}).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(f"http://127.0.0.1:{server.rest_port}/v1/models/lts:predict", body, timeout=30).read()
        assert without.flush()
    without.stop()
    assert 'lts_serving_request_log_records{outcome="written"} 2.0' in server.metrics.page().decode()
    return folder / "with", folder / "without"


def test_answered_requests_are_written_with_what_answered_them(served_logs):
    first, second = records = read(served_logs[0])
    assert first.predict_log.request.inputs["image_bytes"].string_val[:] == [photo_bytes(seed=1)]
    assert second.predict_log.request.inputs["image_bytes"].string_val[:] == [photo_bytes(seed=2)]
    for record in records:
        metadata, request, response = record.log_metadata, record.predict_log.request, record.predict_log.response
        assert (metadata.model_spec.name, metadata.model_spec.version.value) == ("lts", 7)
        assert metadata.model_spec.signature_name == request.model_spec.signature_name == "segment_expressions"
        assert metadata.sampling_config.sampling_rate == 1
        assert abs(metadata.timestamp_secs - time.time()) < 1200
        assert list(metadata.saved_model_tags) == ["serve"]
        assert {"score", "presence", "mask_png_bytes"} <= set(response.outputs)
    assert [word.decode() for word in first.predict_log.request.inputs["expression"].string_val] == EXPRESSIONS


def test_a_log_warms_a_version_up(served_logs, saved_models, tmp_path, caplog):
    shutil.copytree(saved_models.first.folder, tmp_path / "served" / "1")
    (log_file,) = served_logs[0].glob("*.tfrecord")
    shutil.copy(log_file, tmp_path / "served" / "1" / "assets.extra" / "tf_serving_warmup_requests")
    options = dataclasses.replace(OPTIONS, enable_model_warmup=True)
    with caplog.at_level("INFO"), Server({"lts": tmp_path / "served"}, options) as server:
        with Client(f"127.0.0.1:{server.port}", timeout=30) as client:
            assert client.wait_until_ready(60) == 1
    assert "2 requests" in caplog.text


def test_photos_are_left_out_where_they_are_not_to_be_kept(served_logs):
    photos = (photo_bytes(seed=1), photo_bytes(seed=2))
    for record, photo in zip(read(served_logs[1]), photos, strict=True):
        inputs = record.predict_log.request.inputs
        assert set(inputs) == {"expression", "image_bytes/bytes", "image_bytes/size", "image_bytes/sha256"}
        assert tf.make_ndarray(inputs["image_bytes/bytes"]).tolist() == [len(photo)]
        assert tf.make_ndarray(inputs["image_bytes/size"]).tolist() == [[60, 80]]
        assert inputs["image_bytes/sha256"].string_val[:] == [hashlib.sha256(photo).hexdigest().encode()]
        assert photo[100:200] not in record.SerializeToString()
        assert set(record.predict_log.response.outputs) >= {"score", "presence"}


def test_pixels_and_photos_of_examples_are_left_out_too(log, tmp_path):
    pixels = np.random.default_rng(0).random((1, 40, 40, 3), np.float32)
    request = protos.PredictRequest()
    request.inputs["image"].CopyFrom(from_array(pixels))
    request.inputs["token_ids"].CopyFrom(from_array(np.ones((1, 6), np.int32)))
    examples = protos.ClassificationRequest()
    feature = examples.input.example_list.examples.add().features.feature
    feature["photo"].bytes_list.value.append(photo_bytes())
    feature["words"].bytes_list.value.append(b"a dog")
    running = log(photos=False)
    running(RequestEnded("lts", 1, "a", "Predict", "GRPC", grpc.StatusCode.OK, 0.1, 1, request, None))
    running(RequestEnded("lts", 1, "b", "Classify", "GRPC", grpc.StatusCode.OK, 0.1, 1, examples, None))
    running.stop()
    first, second = read(tmp_path)
    assert set(first.predict_log.request.inputs) == {"token_ids", "image/bytes", "image/size", "image/sha256"}
    (example,) = second.classify_log.request.input.example_list.examples
    assert set(example.features.feature) == {"words", "photo/bytes", "photo/size", "photo/sha256"}
    assert list(example.features.feature["photo/size"].int64_list.value) == [60, 80]
    assert set(request.inputs) == {"image", "token_ids"}  # the request itself is left alone


def test_only_a_share_of_the_answered_requests_is_logged(log, tmp_path):
    running = log(sampling_rate=0.3)
    running._random.seed(0)
    for number in range(150):
        running(ended(number))
        running(ended(number, code=grpc.StatusCode.INTERNAL))
        running(Draining(1.0))
    assert running.flush()
    running.stop()
    found = numbers(read(tmp_path))
    assert found == sorted(set(found))
    assert 25 <= len(found) <= 65
    assert running.written == len(found)
    assert all(record.log_metadata.sampling_config.sampling_rate == 0.3 for record in read(tmp_path))


def test_a_full_queue_drops_and_counts(log, tmp_path):
    running = log(start=False)  # nobody writes yet
    for number in range(QUEUE_RECORDS + 40):
        running(ended(number))
    assert running.dropped == 40
    running.start()
    running.stop()
    assert numbers(read(tmp_path)) == list(range(QUEUE_RECORDS))
    assert (running.written, running.failed) == (QUEUE_RECORDS, 0)
    running(ended())
    assert running.dropped == 41


def test_the_queue_is_bounded_by_bytes_too(log):
    running = log(start=False)
    for number in range(40):
        running(ended(number, size=4 << 20))
    assert running.dropped == 40 - 15  # 64 MiB


def test_all_files_together_stay_below_their_size_and_the_newest_are_kept(log, tmp_path):
    running, seen = log(max_bytes=64_000), 0
    for number in range(200):
        running(ended(number, size=2000))
        assert running.flush()
        sizes = [path.stat().st_size for path in tmp_path.iterdir()]
        seen = max(seen, sum(sizes))
        assert sum(sizes) <= 64_000
    running.stop()
    assert seen > 40_000
    found = numbers(read(tmp_path))
    assert found == list(range(found[0], 200))
    assert len(found) >= 16
    assert all(path.name.startswith("log-") for path in tmp_path.iterdir())


def test_a_record_larger_than_a_file_fails_and_the_others_go_on(log, tmp_path):
    running = log(max_bytes=64_000)
    running(ended(1))
    running(ended(2, size=100_000))
    running(ended(3))
    running.stop()
    assert numbers(read(tmp_path)) == [1, 3]
    assert (running.written, running.failed) == (2, 1)


def test_a_file_is_completed_after_its_time(log, tmp_path):
    running = log(file_seconds=0.1)
    running(ended(1))
    until = time.monotonic() + 20
    while not list(tmp_path.glob("*.tfrecord")):
        assert time.monotonic() < until, "not completed"
        time.sleep(0.01)
    assert numbers(read(tmp_path)) == [1]


def test_a_disk_that_fails_for_a_while_costs_its_records_alone(log, tmp_path, caplog):
    running = log(max_bytes=4000)  # each record begins a file
    running(ended(1, size=700))
    assert running.flush()
    for path in tmp_path.iterdir():
        path.unlink()
    tmp_path.rmdir()
    for number in (2, 3):
        running(ended(number, size=700))
    assert running.flush()
    assert running.failed == 2
    assert caplog.text.count("The request log cannot be written") == 1
    tmp_path.mkdir()
    running(ended(4, size=700))
    running.stop()
    assert numbers(read(tmp_path)) == [4]


FULL = """import resource, sys
from serving.transport.log_files import LogFiles
files = LogFiles(sys.argv[1], 1 << 30)
hard, failed = resource.getrlimit(resource.RLIMIT_FSIZE)[1], []
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))  # as of a disk that is full
for number in range(200):
    if number == 100:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    try:
        files.write(bytes([number]) * 100)
        files.flush()
    except OSError:
        failed.append(number)
files.complete()
print(*failed)
"""


def test_no_record_stands_behind_half_of_one(tmp_path):
    done = run_python("-c", FULL, str(tmp_path / "log"))
    failed = set(map(int, done.stdout.split()))
    paths = sorted(map(str, tmp_path.iterdir()))
    found = {record.numpy()[0] for record in tf.data.TFRecordDataset(paths)}
    assert failed and found == set(range(200)) - failed


WRITER = """import sys, time
from serving.transport.log_files import LogFiles
files = LogFiles(sys.argv[1], 1 << 20)
for number in range(5):
    files.write(bytes([number]) * 100)
files.flush()
print("written", flush=True)
time.sleep(600)
"""


def test_what_a_killed_server_wrote_is_completed_by_the_next(tmp_path):
    words = [sys.executable, "-c", WRITER, tmp_path / "log"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout.readline() == "written\n"
            LogFiles(tmp_path / "log", 1 << 20)  # another server: it leaves alone what is being written
            (partial,) = tmp_path.iterdir()
            assert partial.name.endswith(".partial")
        finally:
            process.send_signal(signal.SIGKILL)
    with partial.open("ab") as file:
        file.write(struct.pack("<Q", 100) + b"half a record")
    (whole,) = LogFiles(tmp_path / "log", 1 << 20).files()
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(whole))]
    assert records == [bytes([number]) * 100 for number in range(5)]
    assert list(tmp_path.iterdir()) == [whole]


def test_servers_that_write_and_start_beside_each_other_lose_nothing(tmp_path):
    """One file a record, so that a start falls on every moment in a file's life."""
    writing = threading.Event()
    writing.set()

    def start_servers():
        while writing.is_set():
            LogFiles(tmp_path / "log", 1 << 24)

    def write(numbers):
        files = LogFiles(tmp_path / "log", 1 << 24)
        for number in numbers:
            files.write(number.to_bytes(2, "big") * 10)
            files.complete()

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        starts = [pool.submit(start_servers) for _ in range(2)]
        writes = [pool.submit(write, numbers) for numbers in (range(300), range(300, 600))]
        concurrent.futures.wait(writes)
        writing.clear()
    assert not [error for one in (*starts, *writes) if (error := one.exception())]
    paths = LogFiles(tmp_path / "log", 1 << 24).files()
    written = [record.numpy() for path in paths for record in tf.data.TFRecordDataset(str(path))]
    assert sorted(written) == [number.to_bytes(2, "big") * 10 for number in range(600)]


def test_servers_that_share_a_prefix_remove_the_oldest_files_side_by_side(tmp_path):
    def write():
        files = LogFiles(tmp_path / "log", 4_000)
        for _ in range(300):
            files.write(bytes(500))
            files.complete()
        return files

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write) for _ in range(3)]
    left = writers[0].result().files()
    assert all(writer.exception() is None for writer in writers)
    assert 1 <= len(left) <= 8 and sum(path.stat().st_size for path in left) <= 4_000


def test_an_empty_file_of_a_killed_server_goes(tmp_path):
    (tmp_path / ".log-20260101T000000-000001.tfrecord.partial").write_bytes(b"\0\0")
    assert LogFiles(tmp_path / "log", 1 << 20).files() == []
    assert list(tmp_path.iterdir()) == []


def test_a_model_may_have_a_rate_and_prefix_of_its_own(log, tmp_path):
    text = f"""model_config_list {{
      config {{ name: "lts" base_path: "{tmp_path}" }}
      config {{ name: "own" base_path: "{tmp_path}" logging_config {{
        log_collector_config {{ filename_prefix: "{tmp_path}/own/requests" }}
        sampling_config {{ sampling_rate: 1 }} }} }}
      config {{ name: "never" base_path: "{tmp_path}" logging_config {{}} }}
    }}"""
    models = settings_from_proto(text_format.Parse(text, protos.ModelServerConfig(), descriptor_pool=protos.POOL))
    running = log(models=models.get)
    alone = RequestLog(None, models.get).start()
    for number, name in enumerate(("lts", "own", "never", "gone")):
        running(ended(number, model=name))
        alone(ended(10 + number, model=name))
    running.stop()
    alone.stop()
    assert numbers(read(tmp_path)) == [0, 3]
    assert sorted(numbers(read(tmp_path / "own"))) == [1, 11]


def test_a_folder_is_taken_as_such_and_one_that_cannot_be_written_is_named(tmp_path):
    running = RequestLog(settings(tmp_path, path=tmp_path)).start()
    running(ended(1))
    running.stop()
    (path,) = tmp_path.glob("*.tfrecord")
    assert path.name.startswith("requests-")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StartError, match="file/log: cannot write the request log: "):
        RequestLog(settings(tmp_path, path=tmp_path / "file" / "log")).start()
