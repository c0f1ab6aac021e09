"""gRPC itself: deadlines and clients that go, raw bytes, options; over a real channel."""

import contextlib
import threading
import time
import zlib

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from serving.core.limits import Limits
from serving.options import ServerOptions
from serving.transport.grpc import GrpcServer
from tests.serving.asking import predict_request, refused
from tests.serving.houses import open_house
from tests.serving.other_models import write_gate

X = {"x": np.array([2.0], np.float32)}
PREDICT = "/tensorflow.serving.PredictionService/Predict"


def wait_for(condition, seconds=20):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def gates(tmp_path_factory):
    """Folder of versions of the model that waits until it is told to go on."""
    base = tmp_path_factory.mktemp("gates")
    write_gate(base / "1")
    return base


@contextlib.contextmanager
def gate_house(gates, max_predictions=2, rows_running=1):
    """A house of that model with room for two predictions, one of them in the graph; `release(n)` lets n pass."""
    limits = Limits(max_predictions=max_predictions, rows_running=rows_running)
    with open_house({"gate": gates}, limits, max_predictions=max_predictions) as house:
        house.predict = prediction_service_pb2_grpc.PredictionServiceStub(house.channel).Predict
        released = []

        def release(count):
            with house.manager.lease(predict_request("gate").model_spec) as servable:
                servable.run("release", {"count": np.array(count, np.int32)}, ["held"])
                released.append(count)

        house.release = release
        try:
            yield house
        finally:
            house.release(100)  # whatever a failed test has left waiting


def running(house):
    """A request that is inside the graph."""
    future = house.predict.future(predict_request("gate", X), timeout=60)
    wait_for(lambda: house.admission.rows == 1)
    return future


def test_a_client_with_a_deadline_of_a_second_does_not_hold_a_slot(gates):
    with gate_house(gates) as house:
        first = running(house)
        started = time.monotonic()
        with pytest.raises(grpc.RpcError) as refusal:
            house.predict(predict_request("gate", X), timeout=1)
        assert refusal.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert 0.9 < time.monotonic() - started < 5
        wait_for(lambda: house.admission.predictions == 1)  # the slot of the late one is free, and its place in the row
        assert house.admission.waiting == 0
        second = house.predict.future(predict_request("gate", X), timeout=60)
        wait_for(lambda: house.admission.waiting == 1)
        house.release(2)
        assert first.result().outputs["y"].float_val[:] == second.result().outputs["y"].float_val[:] == [2.0]
        wait_for(lambda: len(house.ended) == 3)
        assert sorted(event.code.name for event in house.ended) == ["DEADLINE_EXCEEDED", "OK", "OK"]


def test_a_deadline_that_passes_inside_the_graph_ends_the_work(gates):
    with gate_house(gates) as house:
        refused_late = house.predict.future(predict_request("gate", X), timeout=0.3)
        assert refused_late.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        wait_for(lambda: house.admission.rows == house.admission.predictions == 0)
        house.release(1)
        assert house.predict(predict_request("gate", X), timeout=30).outputs["y"].float_val[:] == [2.0]
        assert [event.code.name for event in house.ended] == ["DEADLINE_EXCEEDED", "OK"]


def test_a_client_that_goes_while_it_waits_frees_its_slot(gates):
    with gate_house(gates) as house:
        first = running(house)
        second = house.predict.future(predict_request("gate", X), timeout=60)
        wait_for(lambda: house.admission.waiting == 1)
        refused(house.predict, predict_request("gate", X), "RESOURCE_EXHAUSTED", "2 predictions are being made")
        second.cancel()
        wait_for(lambda: house.admission.predictions == 1)
        third = house.predict.future(predict_request("gate", X), timeout=60)
        wait_for(lambda: house.admission.waiting == 1)
        house.release(2)
        assert first.result() and third.result()
        wait_for(lambda: len(house.ended) == 4)
        codes = [event.code.name for event in house.ended]
        assert sorted(codes) == ["CANCELLED", "OK", "OK", "RESOURCE_EXHAUSTED"]


def test_dead_work_never_reaches_the_graph(gates):
    """A hundred clients give up; the tokens are all there for those who stay."""
    with gate_house(gates, max_predictions=128) as house:
        first = running(house)
        futures = [house.predict.future(predict_request("gate", X), timeout=60) for _ in range(100)]
        wait_for(lambda: house.admission.waiting >= 32)
        for future in futures:
            future.cancel()
        wait_for(lambda: house.admission.predictions == 1)
        house.release(2)
        assert first.result()
        assert house.predict(predict_request("gate", X), timeout=30)


def test_refusals_are_answered_while_every_slot_is_taken(gates):
    with gate_house(gates, max_predictions=8) as house:
        futures = [house.predict.future(predict_request("gate", X), timeout=60) for _ in range(8)]
        wait_for(lambda: house.admission.predictions == 8)
        started = time.monotonic()
        for _ in range(20):
            refused(house.predict, predict_request("gate", X), "RESOURCE_EXHAUSTED", "try again later")
        assert time.monotonic() - started < 10
        house.release(8)
        assert all(future.result() for future in futures)


@pytest.mark.parametrize("timeout", [None, 3e7, 1e9])
def test_deadlines_beyond_any_clock_are_none(gates, timeout):
    with gate_house(gates) as house:
        first = running(house)
        second = house.predict.future(predict_request("gate", X), timeout=timeout)
        wait_for(lambda: house.admission.waiting == 1)
        house.release(2)
        assert first.result() and second.result()


def test_a_deadline_that_is_over_on_arrival(gates):
    with gate_house(gates) as house, pytest.raises(grpc.RpcError) as refusal:
        house.predict(predict_request("gate", X), timeout=0)
    assert refusal.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_senders_that_never_send_leave_room_for_others(gates):
    """A call whose message does not come holds a thread and nothing else."""
    with gate_house(gates) as house:
        silent, done = house.channel.stream_unary(PREDICT), threading.Event()

        def nothing():
            done.wait(60)
            yield from ()

        calls = [silent.future(nothing(), timeout=60) for _ in range(40)]
        house.release(1)
        try:
            assert house.predict(predict_request("gate", X), timeout=30).outputs["y"].float_val[:] == [2.0]
        finally:
            for call in calls:
                call.cancel()
            done.set()


@pytest.mark.parametrize(
    "content",
    [b"\xff", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x0a\x05abc", b"\x0a\x03\x0a\x01\xff", b"\x0b" * 200_000],
)
def test_bytes_that_are_no_request(gates, content):
    with gate_house(gates) as house:
        details = refused(house.channel.unary_unary(PREDICT), content, "INVALID_ARGUMENT")
        assert details == f"the {len(content)} bytes of the request are no tensorflow.serving.PredictRequest"
        refused(house.channel.unary_unary(PREDICT), b"", "INVALID_ARGUMENT", "Missing ModelSpec")


def test_messages_together_beyond_the_bytes_that_may_be_in_the_house(gates):
    with open_house({"gate": gates}, Limits(max_bytes=100_000)) as house:
        call = house.channel.unary_unary(PREDICT)
        refused(call, b"\xff" * 100_001, "RESOURCE_EXHAUSTED", "100001 more, of 100000 allowed")
        refused(call, b"\xff" * 100_000, "INVALID_ARGUMENT", "are no tensorflow.serving.PredictRequest")
        assert house.admission.idle.is_set()


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_messages_are_read_and_take_room_for_what_they_hold(gates, compression):
    with open_house({"gate": gates}, Limits(max_bytes=2_000_000)) as house:
        with grpc.insecure_channel(house.target, compression=compression) as channel:
            call = channel.unary_unary(PREDICT)
            details = refused(call, b"\xff" * 100_000, "INVALID_ARGUMENT")
            assert details == "the 100000 bytes of the request are no tensorflow.serving.PredictRequest"
            refused(call, b"\xff" * 3_000_000, "RESOURCE_EXHAUSTED", "of 2000000 allowed")
            request = predict_request("gate", {"count": np.full(20_000, 1, np.int32)}, "release").SerializeToString()
            refused(call, request, "INVALID_ARGUMENT", "expects shape")
        assert house.admission.idle.is_set()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (zlib.compress(b"\xff" * 9000, wbits=31)[:-8], "the message is no whole gzip file"),
        (b"\x1f\x8b\x08" + b"\xff" * 9000, "the message is no gzip file"),
        (b"\x78\x9c" + b"\xff" * 9000, "the message is no gzip file"),
    ],
)
def test_damaged_compressed_messages(gates, content, words):
    with open_house({"gate": gates}) as house:
        refused(house.channel.unary_unary(PREDICT), content, "INVALID_ARGUMENT", words)


def test_methods_that_are_not_there(gates):
    with gate_house(gates) as house:
        for name in ("PredictionService/Guess", "SessionService/SessionRun"):
            refused(house.channel.unary_unary(f"/tensorflow.serving.{name}"), b"", "UNIMPLEMENTED")


def test_a_port_is_not_shared_and_channel_arguments_count(gates):
    with open_house({"gate": gates}, grpc_channel_arguments=(("grpc.max_receive_message_length", 1000),)) as house:
        call = house.channel.unary_unary(PREDICT)
        refused(call, b"\xff" * 1000, "INVALID_ARGUMENT")
        refused(call, b"\xff" * 1001, "RESOURCE_EXHAUSTED", "larger than max")
        second = GrpcServer(house.context, ServerOptions()).server
        with pytest.raises(RuntimeError, match="Failed to bind"):
            second.add_insecure_port(house.target)
