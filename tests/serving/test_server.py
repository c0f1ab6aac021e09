"""Starting, stopping and swapping versions."""

import contextlib
import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import get_model_status_pb2, model_management_pb2

from serving.client import Client, ServingError
from serving.errors import StartError
from serving.server import Server
from tests.conftest import ROOT
from tests.serving.conftest import OPTIONS
from tests.small_models import photo_bytes

END = get_model_status_pb2.ModelVersionStatus.END


def publish(model, base, version):
    """Writes a version aside and renames it, as `push` does."""
    shutil.copytree(model.folder, base / f".{version}")
    os.rename(base / f".{version}", base / str(version))


@pytest.fixture
def base(tmp_path):
    (tmp_path / "served").mkdir()
    return tmp_path / "served"


@contextlib.contextmanager
def serving(base, **changes):
    with Server({"lts": base}, dataclasses.replace(OPTIONS, **changes)) as server:
        with Client(f"127.0.0.1:{server.port}", timeout=30) as client:
            yield server, client


def test_hot_swap_under_load_fails_no_request(saved_models, base):
    expected = {
        version: model.predictor(photo_bytes(), "the left dog").mask
        for version, model in ((1, saved_models.first), (2, saved_models.second))
    }
    assert (expected[1] != expected[2]).any()
    publish(saved_models.first, base, 1)
    answers, failures, stop = [], [], threading.Event()
    with serving(base, enable_model_warmup=True) as (_, client):

        def run():
            while not stop.is_set():
                try:
                    answers.extend(client.segment(photo_bytes(), ["the left dog"]))
                except ServingError as error:
                    failures.append(error)

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        publish(saved_models.second, base, 2)
        client.wait_until_ready(60, version=2)
        seen = len(answers)
        while len(answers) < seen + 20:
            time.sleep(0.05)
        stop.set()
        for thread in threads:
            thread.join()
        wait_for(lambda: client.status()[1].state == END)
    assert failures == []
    assert {answer.version for answer in answers} == {1, 2}
    assert [answer.version for answer in answers[-4:]] == [2] * 4
    for answer in answers:
        np.testing.assert_array_equal(answer.mask, expected[answer.version])


def wait_for(condition, seconds=30):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "did not happen"
        time.sleep(0.05)


def test_a_broken_version_is_reported_and_the_old_one_stays(saved_models, base):
    publish(saved_models.first, base, 1)
    with serving(base) as (_, client):
        (base / "2").mkdir()
        (base / "2" / "saved_model.pb").write_bytes(b"not a graph")
        wait_for(lambda: 2 in client.status() and client.status()[2].state == END)
        assert client.status()[2].status.error_code != 0
        assert client.segment(photo_bytes(), ["the dog"])[0].version == 1
        publish(saved_models.second, base, 3)  # and the next good one comes in
        client.wait_until_ready(60, version=3)
        assert client.segment(photo_bytes(), ["the dog"])[0].version == 3


def test_a_withdrawn_version_gives_way_to_the_one_before(saved_models, base):
    publish(saved_models.first, base, 1)
    publish(saved_models.second, base, 2)
    with serving(base) as (_, client):
        assert client.segment(photo_bytes(), ["the dog"])[0].version == 2
        os.rename(base / "2", base / ".withdrawn")
        wait_for(lambda: client.segment(photo_bytes(), ["the dog"])[0].version == 1)


def test_an_empty_folder_is_waited_on(saved_models, base):
    with serving(base) as (server, client):
        assert not server.models.ready
        with pytest.raises(ServingError, match="Servable not found for request") as error:
            client.segment(photo_bytes(), ["the dog"])
        assert error.value.code == grpc.StatusCode.NOT_FOUND
        publish(saved_models.first, base, 1)
        assert client.wait_until_ready(60) == 1
        wait_for(lambda: server.models.ready)


def test_reload_takes_another_model_and_version_policy(saved_models, base):
    publish(saved_models.first, base, 1)
    publish(saved_models.second, base, 2)
    with serving(base) as (_, client):
        request = model_management_pb2.ReloadConfigRequest()
        entry = request.config.model_config_list.config.add(
            name="both", base_path=str(base), model_platform="tensorflow"
        )
        entry.model_version_policy.all.SetInParent()
        entry.version_labels["stable"] = 1
        client._models.HandleReloadConfigRequest(request, timeout=60)
        client.model_name = "both"
        assert set(client.status()) == {1, 2}
        client.version = 1
        assert client.segment(photo_bytes(), ["the dog"])[0].version == 1
        client.model_name = "lts"
        with pytest.raises(ServingError, match="Servable not found"):
            client.segment(photo_bytes(), ["the dog"])


def test_a_port_in_use_and_a_missing_folder_are_named(server, base):
    with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{server.port}"):
        Server({"lts": base}, dataclasses.replace(OPTIONS, port=server.port))
    with pytest.raises(StartError, match="nowhere: no such folder"):
        Server({"lts": base / "nowhere"}, OPTIONS)


@contextlib.contextmanager
def server_process(base, port=0, warm_up="false"):
    """The server as users start it; yields the process and its port."""
    words = ["server", "--port", port, "--model_base_path", base, "--enable_model_warmup", warm_up]
    process = subprocess.Popen(
        [sys.executable, "-m", "serving", *map(str, words)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    # Somebody must read on, or the server would wait for room in the pipe.
    reader = threading.Thread(target=process.stderr.read, daemon=True)
    try:
        for line in process.stderr:
            found = re.search(r"Running gRPC ModelServer at 0\.0\.0\.0:(\d+)", line)
            if found:
                break
        else:
            pytest.fail(f"the server ended with {process.wait()}")
        reader.start()
        yield process, int(found.group(1))
    finally:
        process.kill()
        process.wait()
        if reader.is_alive():
            reader.join()  # closing under a reader would leave the file open
        process.stderr.close()


def test_a_killed_server_starts_again_on_its_port_and_sigterm_ends_it_well(saved_models, base):
    publish(saved_models.first, base, 1)
    with server_process(base) as (process, port), Client(f"127.0.0.1:{port}", timeout=30) as client:
        client.wait_until_ready(60)
        expected = client.segment(photo_bytes(), ["the dog"])[0].mask
        process.send_signal(signal.SIGKILL)
        process.wait()
        with pytest.raises(ServingError, match="cannot be reached"):
            client.segment(photo_bytes(), ["the dog"])
        with server_process(base, port) as (again, same_port):
            assert same_port == port
            client.wait_until_ready(60)
            np.testing.assert_array_equal(client.segment(photo_bytes(), ["the dog"])[0].mask, expected)
            again.send_signal(signal.SIGTERM)
            assert again.wait(30) == 0


def test_sigterm_in_the_middle_of_a_load_ends_it_well_too(saved_models, base):
    publish(saved_models.first, base, 1)
    with server_process(base, warm_up="true") as (process, _):
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
