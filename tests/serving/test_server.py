"""Starting, opening, health, and following configuration files, in one process."""

import concurrent.futures
import contextlib
import dataclasses
import http.client
import shutil
import socket
import threading
import time
import urllib.request

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tensorflow_serving.apis import prediction_service_pb2_grpc

from serving.client import Client
from serving.config_files import read_models
from serving.core.settings import ModelSettings
from serving.errors import RequestError, ServingError, StartError
from serving.options import ServerOptions, check_port, check_socket
from serving.server import Server
from serving.wire.protos import PredictRequest, ReloadConfigRequest
from serving.wire.tensors import from_array
from tests.serving.asking import predict_request
from tests.serving.core.model_folders import break_version, publish, wait_for
from tests.serving.other_models import write_half_plus_two
from tests.serving.slow_model import write_slow

OPTIONS = ServerOptions(host="127.0.0.1", port=0, rest_port=0, poll_seconds=0.02, enable_model_warmup=False)
PREDICT = "/tensorflow.serving.PredictionService/Predict"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def base(tmp_path):
    (tmp_path / "served").mkdir()
    return tmp_path / "served"


@contextlib.contextmanager
def serving(models, **changes):
    """A server while the block runs, and a channel to it."""
    with Server(models, dataclasses.replace(OPTIONS, **changes)) as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield server, channel


def health(channel, service=""):
    """The status of a service; the code of the refusal of an unknown one."""
    try:
        return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service)).status
    except grpc.RpcError as error:
        return error.code()


def lets_in(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    except ConnectionRefusedError:
        return False


def ask(server, model="m", target=None):
    """`y` for x = 2."""
    with Client(target or f"127.0.0.1:{server.port}", model_name=model, timeout=20) as client:
        return float(client.predict({"x": np.array([2.0], np.float32)})[0]["y"][0])


def test_nobody_is_let_in_before_the_first_models_are_loaded(base):
    write_slow(base / "1", seconds=0.3, warm_up_requests=3)
    server = Server({"m": base}, dataclasses.replace(OPTIONS, enable_model_warmup=True))
    starting = threading.Thread(target=server.start)
    starting.start()
    refused = 0
    while not server.manager.serves("m"):
        assert not lets_in(server.port)
        assert not lets_in(server.rest_port)
        refused += 1
    starting.join()
    try:
        assert refused > 1
        assert lets_in(server.port)
        assert lets_in(server.rest_port)
        assert ask(server) == 3.0
    finally:
        server.stop()


def test_an_empty_server_is_not_ready_and_becomes_so_with_its_first_version(base, half_plus_two):
    with serving({"m": base}) as (server, channel):
        names = ("", "m", "ModelService", "PredictionService", "tensorflow.serving.PredictionService")
        assert {health(channel, name) for name in names} == {NOT_SERVING}
        with pytest.raises(ServingError, match="Servable not found for request") as error:
            ask(server)
        assert error.value.code == grpc.StatusCode.NOT_FOUND
        publish(half_plus_two, base, 1)
        wait_for(lambda: health(channel) == SERVING)
        assert {health(channel, name) for name in names} == {SERVING}
        assert ask(server) == 3.0


def test_a_broken_second_model_turns_its_own_name_alone(tmp_path, half_plus_two):
    for name in ("good", "broken"):
        (tmp_path / name).mkdir()
    publish(half_plus_two, tmp_path / "good", 1)
    break_version(tmp_path / "broken", 1)
    models = {name: tmp_path / name for name in ("good", "broken")}
    with serving(models, max_num_load_retries=0) as (server, channel):
        names = ("", "PredictionService", "ModelService", "tensorflow.serving.ModelService", "good", "broken")
        assert [health(channel, name) for name in names] == [SERVING] * 5 + [NOT_SERVING]
        assert health(channel, "third") == grpc.StatusCode.NOT_FOUND
        server.manager.reload({"good": ModelSettings(tmp_path / "good")})
        publish(half_plus_two, tmp_path / "good", 2)  # the next change of any version tells it
        wait_for(lambda: health(channel, "broken") == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
        assert health(channel) == SERVING


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_requests_reach_every_service(base, half_plus_two, compression):
    publish(half_plus_two, base, 1)
    name = "m" * 1000  # a short message is sent as it is
    with serving({name: base}) as (server, _):
        with grpc.insecure_channel(f"127.0.0.1:{server.port}", compression=compression) as channel:
            wait_for(lambda: health(channel, name) == SERVING)
            request = predict_request(name, {"x": np.zeros(1000, np.float32)})
            response = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request)
            np.testing.assert_array_equal(response.outputs["y"].float_val, [2.0] * 1000)
            asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol="a" * 1000)
            answers = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked]))
            assert next(answers).error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
            assert health(channel, "a" * 2_100_000) in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
            assert health(channel, name) == SERVING


def test_health_knows_models_that_come_and_go_without_a_version(base, tmp_path):
    (tmp_path / "other").mkdir()
    with serving({"m": base}) as (server, channel):
        assert health(channel, "m") == NOT_SERVING and health(channel, "other") == grpc.StatusCode.NOT_FOUND
        with pytest.raises(RequestError, match="did not become available"):
            server.manager.reload({"other": ModelSettings(tmp_path / "other")})
        assert health(channel, "m") == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        assert health(channel, "other") == NOT_SERVING


def test_without_its_service_health_is_not_there(base):
    with serving({"m": base}, health_service=False) as (_, channel):
        assert health(channel) == grpc.StatusCode.UNIMPLEMENTED


def test_health_turns_first_and_new_requests_are_still_taken_for_a_while(base):
    write_slow(base / "1", seconds=0.5)
    with serving({"m": base}) as (server, channel):
        answers, running = [], threading.Thread(target=lambda: answers.append(ask(server)))
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == SERVING
        running.start()
        wait_for(lambda: server.admission.predictions)
        ending = threading.Thread(target=server.stop, kwargs={"lame_duck": 1.0})
        ending.start()
        assert next(watch).status == NOT_SERVING
        assert not answers  # it still runs
        time.sleep(0.2)  # as a balancer that has not read it yet
        assert ask(server) == 3.0
        running.join()
        assert answers == [3.0]
        ending.join(timeout=10)  # though somebody still watches health
        assert not ending.is_alive()
        assert not lets_in(server.port)
        assert not lets_in(server.rest_port)


def test_what_does_not_end_is_broken_off_when_the_grace_is_over(base):
    write_slow(base / "1", seconds=30)
    with serving({"m": base}, grace_seconds=1.0) as (server, _):
        codes = []

        def run():
            try:
                ask(server)
            except ServingError as error:
                codes.append(error.code)

        running = threading.Thread(target=run)
        running.start()
        wait_for(lambda: server.admission.predictions)
        server.stop()
        running.join(timeout=10)
        assert codes
        assert codes[0] in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


def test_some_of_the_grace_is_left_for_what_comes_after_the_answers(base, monkeypatch):
    with serving({"m": base}, grace_seconds=5.0) as (server, _):
        left, stop = [], server._grpc.stop

        def record(until):
            left.append(until - time.monotonic())
            stop(until)

        monkeypatch.setattr(server._grpc, "stop", record)
        server.stop()
        assert left[0] <= 4.5


@pytest.mark.parametrize("which", ["port", "rest_port"])
def test_a_port_in_use_is_named_before_anything_is_loaded(base, which):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{port}"):
            Server({"m": base}, dataclasses.replace(OPTIONS, **{which: port}))


@pytest.mark.parametrize("which", ["port", "rest_port"])
def test_a_port_taken_while_models_are_loaded_is_named(base, half_plus_two, which):
    publish(half_plus_two, base, 1)
    server = Server({"m": base}, OPTIONS)
    port = getattr(server, which)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{port}"):
            server.start()
    server.stop()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="there is no IPv6 here")
def test_an_address_of_ipv6(base, half_plus_two):
    publish(half_plus_two, base, 1)
    check_port("::1", 0)
    with serving({"m": base}, host="::1") as (server, _):
        assert ask(server, target=f"[::1]:{server.port}") == 3.0
        with pytest.raises(StartError, match=f"cannot listen on ::1:{server.port}: Address already in use"):
            check_port("::1", server.port)
        connection = http.client.HTTPConnection("::1", server.rest_port, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", "/v1/models/m")
            assert connection.getresponse().status == 200


def test_a_missing_folder_is_named(base):
    with pytest.raises(StartError, match="nowhere: no such folder"):
        Server({"m": base / "nowhere"}, OPTIONS)


def test_a_unix_socket_answers_beside_the_port(base, half_plus_two, tmp_path):
    publish(half_plus_two, base, 1)
    path = tmp_path / "s.sock"
    for _ in range(2):  # what an ended server left is no hindrance
        with serving({"m": base}, grpc_socket_path=str(path)) as (server, _):
            assert ask(server, target=f"unix:{path}") == ask(server) == 3.0
            check_socket(path)
        check_socket(path)


def test_a_later_server_takes_a_unix_socket_over(base, half_plus_two, tmp_path):
    """As with TensorFlow Serving, whose own test starts all its servers on one path."""
    publish(half_plus_two, base, 1)
    path = tmp_path / "s.sock"
    with serving({"m": base}, grpc_socket_path=str(path)) as (first, _):
        check_socket(path)
        with serving({"other": base}, grpc_socket_path=str(path)):
            assert ask(None, "other", target=f"unix:{path}") == ask(first) == 3.0


def config_text(tmp_path, *names, label=None):
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{tmp_path / name}" model_platform: "tensorflow" '
        + (f'version_labels {{ key: "stable" value: {label} }}' if label else "")
        + "}"
        for name in names
    )
    return f"model_config_list {{ {entries} }}"


def test_a_changed_config_file_is_taken_and_a_broken_one_is_not(tmp_path, half_plus_two, caplog):
    for name, offset in (("two", 2.0), ("three", 3.0)):
        (tmp_path / name).mkdir()
        write_half_plus_two(tmp_path / name / "1", offset=offset)
    path = tmp_path / "models.config"
    path.write_text(config_text(tmp_path, "two"))
    changes = {"model_config_file": path, "model_config_poll_seconds": 0.02}
    with serving(read_models(path), **changes) as (server, channel):
        assert ask(server, "two") == 3.0
        path.write_text("model_config_list { config { name: 5 } }")
        wait_for(lambda: "Error parsing text-format tensorflow.serving.ModelServerConfig" in caplog.text)
        path.unlink()
        wait_for(lambda: "No such file" in caplog.text)
        assert ask(server, "two") == 3.0
        assert health(channel, "two") == SERVING
        path.write_text(config_text(tmp_path, "three"))
        wait_for(lambda: server.manager.names == ["three"] and server.manager.serves("three"))
        assert ask(server, "three") == 4.0
        assert health(channel, "three") == SERVING
        # A label of a version that is not there yet is tried again until it is.
        path.write_text(config_text(tmp_path, "three", label=2))
        wait_for(lambda: "assign label to version 2" in caplog.text)
        assert server.manager.settings["three"].labels == ()
        shutil.copytree(tmp_path / "three" / "1", tmp_path / ".2")
        (tmp_path / ".2").rename(tmp_path / "three" / "2")
        wait_for(lambda: server.manager.settings["three"].labels == (("stable", 2),))
        # What is set over gRPC stays until the file changes.
        server.manager.reload({"three": ModelSettings(tmp_path / "three")})
        server._poller.look()
        assert server.manager.settings["three"].labels == ()


def test_a_config_file_that_is_not_polled_stays_as_it_was(tmp_path, half_plus_two):
    (tmp_path / "two").mkdir()
    publish(half_plus_two, tmp_path / "two", 1)
    path = tmp_path / "models.config"
    path.write_text(config_text(tmp_path, "two"))
    with serving(read_models(path), model_config_file=path) as (server, _):
        path.write_text("junk")
        publish(half_plus_two, tmp_path / "two", 2)
        wait_for(lambda: 2 in server.manager.states("two"))  # looks go on, at versions alone
        assert server._poller is None


def test_the_log_tells_versions_and_what_in_a_folder_is_none(base, half_plus_two, caplog):
    caplog.set_level("INFO")
    publish(half_plus_two, base, "v1")
    publish(half_plus_two, base, 2)
    break_version(base, 3)
    with serving({"m": base}, max_num_load_retries=0):
        pass
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("serving")]
    assert any(line.startswith(f"m: passed over {base / 'v1'}: ") for line in lines)
    assert any(line.startswith("Loading m version 3 failed: ") for line in lines)
    assert any(line.startswith("Serving m version 2, loaded in ") for line in lines)
    assert sum(line == "Loading m version 2" for line in lines) == 1
    assert any(line.startswith("Running gRPC ModelServer at 127.0.0.1:") for line in lines)
    assert any(line.startswith("Stopping: health says NOT_SERVING") for line in lines)


def test_the_log_says_that_what_comes_over_grpc_is_lost_at_the_end(base, half_plus_two, caplog):
    caplog.set_level("INFO")
    publish(half_plus_two, base, 1)
    request = ReloadConfigRequest()
    entry = request.config.model_config_list.config.add(name="m", base_path=str(base), model_platform="tensorflow")
    entry.version_labels["stable"] = 1
    with serving({"m": base}) as (server, channel):
        channel.unary_unary("/tensorflow.serving.ModelService/HandleReloadConfigRequest")(request.SerializeToString())
        assert server.manager.settings["m"].labels == (("stable", 1),)
    assert "lost when the server ends unless a --model_config_file says the same" in caplog.text
    with serving({"m": base}) as (server, _):
        assert server.manager.settings["m"].labels == ()


def test_the_page_of_metrics_tells_loads_warm_ups_and_keys(base):
    write_half_plus_two(base / "7", mlmd_uuid="a-key")
    write_slow(base / "8", seconds=0.01, warm_up_requests=2)
    models = {"m": ModelSettings(base, num_latest=0)}
    with serving(models, metrics_path="/metrics", enable_model_warmup=True) as (server, _):
        url = f"http://127.0.0.1:{server.rest_port}/metrics"
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url) as page:
            text = page.read().decode()
    for version in (7, 8):
        path = f'model_path="{base / str(version)}"'
        assert f':tensorflow:cc:saved_model:load_attempt_count{{{path},status="success"}} 1.0' in text
        assert (f':tensorflow:serving:model_warmup_latency_count{{{path},status="OK"}} 1.0' in text) == (version == 8)
    assert ':tensorflow:serving:mlmd_map{model_name="m",version="7",mlmd_uuid="a-key"} 1.0' in text
    assert 'mlmd_map{model_name="m",version="8"' not in text


def test_a_stop_breaks_off_no_call_that_has_arrived(base, half_plus_two):
    publish(half_plus_two, base, 1)
    codes = []

    def ask(target):
        request = PredictRequest()
        request.model_spec.name = "m"
        request.inputs["x"].CopyFrom(from_array(np.zeros((4, 1), np.float32)))
        # A connection of its own for each: calls then arrive together.
        with grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            predict = channel.unary_unary(PREDICT, PredictRequest.SerializeToString)
            while True:
                try:
                    predict(request, timeout=30)
                except grpc.RpcError as error:
                    codes.append(error.code())
                    return
                codes.append(grpc.StatusCode.OK)

    for _ in range(4):
        codes.clear()
        with serving({"m": base}) as (server, _), concurrent.futures.ThreadPoolExecutor(12) as pool:
            asking = [pool.submit(ask, f"127.0.0.1:{server.port}") for _ in range(12)]
            wait_for(lambda: len(codes) > 50)
            server.stop()
            for one in asking:
                one.result()
        assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
