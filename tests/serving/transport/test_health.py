"""The rule of health, over events and without a server; tests/serving/test_server.py asks it over gRPC."""

import threading
import types

import pytest
from grpc_health.v1 import health_pb2

from serving.core.events import Draining, Events, VersionChanged
from serving.transport.health import SERVICES, Health

Status = health_pb2.HealthCheckResponse
AVAILABLE, END = 30, 50


class Models:
    """What `Health` reads of a manager."""

    def __init__(self, **serving):
        self.serving = serving

    @property
    def names(self):
        return sorted(self.serving)

    def serves(self, name):
        return self.serving[name]


@pytest.fixture
def house():
    events, models = Events(), Models(a=False, b=False)
    return types.SimpleNamespace(events=events, models=models, health=Health(models, events))


def status(house, service=""):
    request = health_pb2.HealthCheckRequest(service=service)
    return house.health._servicer.Check(request, None).status


def change(house, **serving):
    house.models.serving.update(serving)
    house.events.emit(VersionChanged("a", 1, AVAILABLE))


def test_nothing_is_ready_before_the_first_look_is_over(house):
    change(house, a=True, b=True)
    assert {status(house, name) for name in (*SERVICES, "a", "b")} == {Status.NOT_SERVING}
    assert not house.health.ready
    house.health.open()
    assert {status(house, name) for name in (*SERVICES, "a", "b")} == {Status.SERVING}
    assert house.health.ready


def test_the_server_is_ready_while_any_model_answers(house):
    house.health.open()
    for serving in ({"a": False, "b": False}, {"a": True}, {"b": True}, {"a": False}, {"b": False}):
        change(house, **serving)
        expected = {name: Status.SERVING if on else Status.NOT_SERVING for name, on in house.models.serving.items()}
        assert {name: status(house, name) for name in expected} == expected
        any_serves = Status.SERVING if any(house.models.serving.values()) else Status.NOT_SERVING
        assert {status(house, name) for name in SERVICES} == {any_serves}


def test_after_the_signal_to_end_nothing_turns_back(house):
    house.health.open()
    change(house, a=True)
    house.events.emit(Draining(5.0))
    change(house, b=True)
    assert {status(house, name) for name in (*SERVICES, "a", "b")} == {Status.NOT_SERVING}


def test_a_model_that_goes_is_unknown_and_one_named_as_a_service_is_that_service(house):
    house.models.serving = {"a": False, "b": True, "ModelService": False}
    house.health.open()
    assert status(house, "ModelService") == Status.SERVING
    del house.models.serving["b"]
    change(house, a=True)
    assert status(house, "b") == Status.SERVICE_UNKNOWN
    assert status(house, "a") == Status.SERVING


def test_many_changes_at_once_leave_the_last_state(house):
    house.health.open()

    def turn(name, last):
        for on in (True, False) * 100:
            change(house, **{name: on})
        change(house, **{name: last})

    threads = [threading.Thread(target=turn, args=one) for one in (("a", True), ("b", False))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [status(house, name) for name in ("a", "b", "")] == [Status.SERVING, Status.NOT_SERVING, Status.SERVING]
