"""TensorFlow's profiler service on the gRPC port."""

import dataclasses
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import pytest
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from serving.client import Client
from serving.errors import RequestError
from serving.options import ServerOptions
from serving.server import Server
from serving.transport.profiler import check_peer
from serving.wire.protos import message
from tests.serving.asking import refused

OPTIONS = ServerOptions(host="127.0.0.1", port=0, poll_seconds=0.0, enable_model_warmup=False)
SERVICE = "/tensorflow.ProfilerService"
ProfileRequest, ProfileResponse = message("tensorflow.ProfileRequest"), message("tensorflow.ProfileResponse")
TerminateRequest, TerminateResponse = message("tensorflow.TerminateRequest"), message("tensorflow.TerminateResponse")


@pytest.fixture(scope="module")
def server(half_folder):
    with Server({"half": half_folder}, OPTIONS) as opened:
        yield opened


@pytest.fixture
def busy(server):
    """A client that asks all the time, so that there is something to trace."""
    ended = threading.Event()

    def ask():
        with Client(f"127.0.0.1:{server.port}", model_name="half", timeout=60) as client:
            while not ended.wait(0.01):
                client.predict({"x": np.array([2.0], np.float32)})

    asking = threading.Thread(target=ask)
    asking.start()
    yield
    ended.set()
    asking.join()


@pytest.fixture
def stub(server):
    """The two methods over a channel."""
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        kinds = {"Profile": (ProfileRequest, ProfileResponse), "Terminate": (TerminateRequest, TerminateResponse)}
        yield {
            name: channel.unary_unary(f"{SERVICE}/{name}", kind[0].SerializeToString, kind[1].FromString)
            for name, kind in kinds.items()
        }


def request(folder, milliseconds=300, **changes):
    fields = {"repository_root": str(folder), "session_id": "now", "host_name": "localhost:8500"} | changes
    return ProfileRequest(opts={"duration_ms": milliseconds}, **fields)


def operators(content):
    """Names of what a trace has seen."""
    space = xplane_pb2.XSpace.FromString(content)
    return {
        plane.event_metadata[event.metadata_id].name
        for plane in space.planes
        for line in plane.lines
        for event in line.events
    }


def test_tensorflows_own_client_collects_a_trace(server, busy, tmp_path):
    code = "import sys, tensorflow as tf; tf.profiler.experimental.client.trace(sys.argv[1], sys.argv[2], 500)"
    command = [sys.executable, "-c", code, f"localhost:{server.port}", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "plugins" / "profile").glob("*/*.xplane.pb")
    assert file.name == f"localhost_{server.port}.xplane.pb"
    assert any("SessionRun" in name or name.startswith("Session") for name in operators(file.read_bytes()))


def test_a_trace_is_written_or_given_in_the_answer(stub, busy, tmp_path):
    assert not stub["Profile"](request(tmp_path / "new")).empty_trace
    file = tmp_path / "new" / "now" / "localhost_8500.xplane.pb"
    assert operators(file.read_bytes())
    stub["Profile"](ProfileRequest(opts={"override_hostname": "other"}, repository_root=str(tmp_path), session_id="1"))
    assert (tmp_path / "1" / "other.xplane.pb").is_file()
    answer = stub["Profile"](request(tmp_path / "none", emit_xspace=True))
    assert not answer.empty_trace and operators(answer.xspace.SerializeToString())
    assert not (tmp_path / "none").exists()


def test_a_trace_of_nothing_is_empty(stub, tmp_path):
    assert stub["Profile"](request(tmp_path, milliseconds=1)).empty_trace


def test_one_trace_at_a_time_which_its_name_ends(stub, tmp_path):
    first = stub["Profile"].future(request(tmp_path, milliseconds=60_000))
    with pytest.raises(grpc.FutureTimeoutError):
        first.result(timeout=1)
    refused(stub["Profile"], request(tmp_path, milliseconds=1), "INTERNAL", "Another profiling session active.")
    stub["Terminate"](TerminateRequest(session_id="another"))
    with pytest.raises(grpc.FutureTimeoutError):
        first.result(timeout=0.3)
    stub["Terminate"](TerminateRequest(session_id="now"))
    assert first.result(timeout=20).empty_trace


def test_a_client_that_goes_frees_the_profiler(stub, tmp_path):
    call = stub["Profile"].future(request(tmp_path, milliseconds=600_000))
    with pytest.raises(grpc.FutureTimeoutError):
        call.result(timeout=1)
    call.cancel()
    time.sleep(1)
    assert stub["Profile"](request(tmp_path, milliseconds=1), timeout=20).empty_trace


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a\\b", "a\0b"])
def test_names_lead_nowhere_else(stub, tmp_path, name):
    for key in ("session_id", "host_name"):
        refused(stub["Profile"], request(tmp_path, **{key: name}), "INVALID_ARGUMENT", f"{key} must be a plain name")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_traced_is_refused(stub, tmp_path):
    refused(stub["Profile"], request("", 1), "INVALID_ARGUMENT", "repository_root must not be empty")
    refused(stub["Profile"], request(tmp_path, 600_001), "INVALID_ARGUMENT", "at most 600 s. Received: 600.001 s")
    (tmp_path / "file").touch()
    refused(stub["Profile"], request(tmp_path / "file", 1), "INTERNAL", "file")


def test_only_this_machine_is_answered():
    for peer in (
        "unix:",
        "unix:/a:b",
        "ipv4:127.0.0.1:1",
        "ipv6:[::1]:1",
        "ipv6:%5B::1%5D:1",
        "ipv6:[::ffff:127.0.0.1]:1",
    ):
        check_peer(peer)
    for peer in ("ipv4:10.0.0.1:1", "ipv6:[2001:db8::1]:1", "ipv6:[::ffff:10.0.0.1]:1", "", "ipv4:", "vsock:1:2"):
        with pytest.raises(RequestError, match="its own machine alone") as refusal:
            check_peer(peer)
        assert refusal.value.code == grpc.StatusCode.PERMISSION_DENIED


def test_without_the_flag_there_is_none(half_folder, tmp_path):
    options = dataclasses.replace(OPTIONS, profiler=False)
    with Server({"half": half_folder}, options) as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            method = channel.unary_unary(f"{SERVICE}/Profile", ProfileRequest.SerializeToString)
            refused(method, request(tmp_path), "UNIMPLEMENTED")
