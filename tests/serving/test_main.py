"""The commands, as users run them; each has tests of its own beside its part."""

import json
import signal
import socket
import urllib.request

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.__main__ import COMMANDS, main
from serving.client import Client
from serving.flags import ACCEPTED, FLAGS, HONOURED
from tests.conftest import run_python
from tests.serving.core.model_folders import publish
from tests.serving.ports import free_ports
from tests.serving.test_server_end import port_of, server_process

LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def test_help_names_the_commands_and_needs_no_tensorflow():
    done = run_python("-X", "importtime", "-m", "serving", "--help")
    assert done.returncode == 0
    assert set(COMMANDS) <= set(done.stdout.split())
    for library in ("tensorflow", "gradio", "matplotlib", "keras"):
        assert f" {library}\n" not in done.stderr


def test_the_servers_help_has_every_flag(capsys):
    assert main(["server", "--help"]) == 0
    printed = capsys.readouterr().out
    for name in FLAGS:
        assert f"  --{name}=" in printed


def test_the_versions_are_told(capsys):
    assert main(["server", "--version"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("TensorFlow ModelServer: ")
    assert second.startswith("TensorFlow Library: 2.")


def test_an_unknown_command_is_wrong_use(capsys):
    with pytest.raises(SystemExit) as error:
        main(["sever"])
    assert error.value.code == 2
    assert "invalid choice: 'sever'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "--model_base_path or --model_config_file is needed: the folder of a model, or a file"),
        (["--model_base_path=BASE", "--modelname=m"], "unknown flag --modelname; did you mean --model_name?"),
        (["--model_base_path=BASE/nowhere"], "no such folder; model 'default' needs one"),
        (["--model_base_path=BASE", "--model_name="], "--model_name must not be empty"),
        (["--model_base_path=BASE", "--port=TAKEN"], "cannot listen on 127.0.0.1:TAKEN: Address already in use"),
        (["--model_base_path=BASE", "--rest_api_port=TAKEN"], "cannot listen on 127.0.0.1:TAKEN: Address already"),
        (["--model_base_path=BASE", "--port=5", "--rest_api_port=5"], "must differ. Received: 5 for both"),
        (["--model_base_path=BASE", "--grpc_socket_path=BASE"], "this is no socket, and is not replaced by one"),
        (["--model_base_path=BASE", "--grpc_socket_path=BASE/x/s"], "no such folder for a socket"),
        (["--model_base_path=BASE", f"--grpc_socket_path=BASE/{'x' * 99}"], "a socket's path has at most 107 bytes"),
        (["--model_config_file=BASE/nowhere"], "nowhere: cannot be read: No such file or directory"),
        (["--model_config_file=BASE/bad"], "Error parsing text-format tensorflow.serving.ModelServerConfig"),
        (["--model_base_path=BASE", "--batching_parameters_file=x"], "is set without --enable_batching"),
        (["--model_base_path=BASE", "--enable_batching", "--batching_parameters_file=BASE/bad"], "BatchingParameters"),
        (["--model_base_path=BASE", "--monitoring_config_file=BASE/bad"], "tensorflow.serving.MonitoringConfig"),
        (["--model_base_path=BASE", "--ssl_config_file=BASE/bad"], "tensorflow.serving.SSLConfig"),
        (["--model_base_path=BASE", "--grpc_channel_arguments=x"], "must be key=value,key=value. Received: 'x'"),
        (["--model_base_path=BASE", "--request_log_photos"], "--request_log_photos is set without --request_log_path"),
        (
            ["--model_base_path=BASE", "--tensorflow_session_parallelism=1", "--tensorflow_intra_op_parallelism=1"],
            "give either it or them",
        ),
    ],
)
def test_a_server_that_cannot_start_says_why_in_one_line(tmp_path, capfd, flags, words):
    (tmp_path / "bad").write_text("improperly formatted")
    with socket.create_server(("127.0.0.1", 0)) as server:
        changes = {"BASE": str(tmp_path), "TAKEN": str(server.getsockname()[1])}
        for old, new in changes.items():
            flags, words = [flag.replace(old, new) for flag in flags], words.replace(old, new)
        assert main(["server", "--host=127.0.0.1", *flags]) == 2
    error = capfd.readouterr().err
    assert error.startswith("serving server: ")
    assert words in error
    assert error.count("\n") == 1


def test_a_port_in_use_is_told_before_tensorflow_is_imported(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        words = ("server", "--host=127.0.0.1", f"--port={port}", f"--model_base_path={tmp_path}")
        done = run_python("-X", "importtime", "-m", "serving", *words, timeout=60)
    assert done.returncode == 2
    assert " serving.options\n" in done.stderr
    assert " tensorflow\n" not in done.stderr


def test_a_server_with_every_flag_starts_and_answers(tmp_path, half_plus_two):
    (tmp_path / "base").mkdir()
    publish(half_plus_two, tmp_path / "base", 1)
    texts = {
        "models": f'model_config_list {{ config {{ name: "m" base_path: "{tmp_path / "base"}" }} }}',
        "batching": "max_batch_size { value: 8 } batch_timeout_micros { value: 0 }",
        "monitoring": 'prometheus_config { enable: true path: "/metrics" }',
        "session": "intra_op_parallelism_threads: 1",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (rest_port,) = free_ports(1)
    special = {
        "host": "127.0.0.1",
        "port": 0,
        "rest_api_port": rest_port,
        "grpc_socket_path": tmp_path / "s.sock",
        "model_config_file": tmp_path / "models",
        "model_config_file_poll_wait_seconds": 1,
        "enable_batching": "true",
        "batching_parameters_file": tmp_path / "batching",
        "monitoring_config_file": tmp_path / "monitoring",
        "tensorflow_session_config_file": tmp_path / "session",
        "grpc_channel_arguments": "grpc.max_connection_age_ms=60000",
        "request_log_path": tmp_path / "log" / "requests",
        "shutdown_grace_seconds": 2,
        "per_process_gpu_memory_fraction": 0.5,
        "enable_serialization_as_tensor_content": "true",
        "tensorflow_session_parallelism": 0,  # its two parts are given
        "tensorflow_intra_op_parallelism": 1,
        "tensorflow_inter_op_parallelism": 1,
        "grpc_max_threads": 20,
    }
    left_out = {"version", "flagfile", "ssl_config_file"}  # the first ends at once; the others have tests of their own
    flags = []
    for flag in FLAGS.values():
        if flag.effect in (HONOURED, ACCEPTED) and flag.name not in left_out:
            value = special.get(flag.name, str(flag.default).lower() if flag.kind is bool else flag.default)
            flags.append(f"--{flag.name}={value}")
    (tmp_path / "flags").write_text("\n".join(flags))
    with server_process(f"--flagfile={tmp_path / 'flags'}") as (process, lines):
        port, x = port_of(process, lines), {"x": np.array([2.0], np.float32)}
        for target in (f"127.0.0.1:{port}", f"unix:{tmp_path / 's.sock'}"):
            with Client(target, model_name="m", timeout=30) as client:
                assert client.predict(x)[0]["y"][0] == 3.0
        url = f"http://127.0.0.1:{rest_port}"
        with LOOPBACK.open(f"{url}/v1/models/m:predict", json.dumps({"instances": [2.0]}).encode()) as answer:
            assert json.load(answer) == {"predictions": [3.0]}
        with LOOPBACK.open(f"{url}/metrics") as page:
            assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 3.0' in page.read().decode()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            health = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service="PredictionService")
            )
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    log = "".join(lines)
    assert f"Exporting HTTP/REST API at:localhost:{rest_port} ..." in log
    assert f"Running gRPC ModelServer at UNIX socket {tmp_path / 's.sock'} ..." in log
    assert "Serving m version 1" in log
    assert "Traceback" not in log


def test_a_session_configuration_that_is_none_is_told(tmp_path, capfd):
    (tmp_path / "session").write_text("threads: many")
    flag = f"--tensorflow_session_config_file={tmp_path / 'session'}"
    assert main(["server", "--host=127.0.0.1", "--port=0", f"--model_base_path={tmp_path}", flag]) == 2
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"serving server: {flag}: the session's configuration is no ConfigProto: 1:1 ")
