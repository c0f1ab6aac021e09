import json
import socket
import types

import pytest
import tensorflow as tf

from lts_keras.config.errors import ConfigError
from lts_keras.training.errors import TrainingError
from lts_keras.training.workers import agree, any_worker, chief_first, is_chief, multi_worker_strategy, worker_errors

CLUSTER = tf.train.ClusterSpec({"worker": ["a:1", "b:2", "c:3"]})


def as_worker(index, spec=CLUSTER, kind="worker"):
    """What the functions here ask of a strategy; a real one needs a process of its own, see test_worker_loop."""
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(spec, task_type=kind, task_id=index)
    return types.SimpleNamespace(cluster_resolver=resolver)


def set_cluster(monkeypatch, *addresses, index=0):
    value = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(value))


def test_a_worker_that_never_comes_is_named_within_the_time(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as there, socket.create_server(("127.0.0.1", 0)) as gone:
        own, other = ("127.0.0.1:{}".format(one.getsockname()[1]) for one in (gone, there))
        gone.close()
        # Nothing listens on port 1.
        set_cluster(monkeypatch, own, other, "127.0.0.1:1")
        with pytest.raises(TrainingError) as error:
            multi_worker_strategy(wait_seconds=0.3, progress=pytest.fail)
    assert str(error.value) == "no answer within 0.3 s from worker 2 (127.0.0.1:1); were all workers started?"


def test_a_port_in_use_is_one_line(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        set_cluster(monkeypatch, f"127.0.0.1:{port}", "127.0.0.1:1")
        with pytest.raises(ConfigError, match=f"able to listen on port {port}: Address already in use") as error:
            multi_worker_strategy(wait_seconds=0)
    assert "\n" not in str(error.value)


def test_the_chief_writes_and_worker_0_without_one():
    assert [is_chief(as_worker(index)) for index in range(3)] == [True, False, False]
    with_chief = tf.train.ClusterSpec({"chief": ["a:1"], "worker": ["b:2"]})
    assert is_chief(as_worker(0, with_chief, "chief"))
    assert not is_chief(as_worker(0, with_chief))
    assert is_chief(tf.distribute.get_strategy())


def test_one_machine_agrees_with_itself():
    strategy = tf.distribute.get_strategy()
    agree(strategy, "a weight", b"1")
    assert any_worker(strategy, True) and not any_worker(strategy, False)
    with chief_first(strategy):
        pass


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            tf.errors.UnavailableError(
                None,
                None,
                "{{function_node x_device_/job:worker/replica:0/task:0/device:CPU:0}} Collective ops is aborted by: "
                "recvmsg:Connection reset by peer\nAdditional GRPC error information from remote target "
                "/job:worker/replica:0/task:2 while calling /tensorflow.WorkerService/RecvBuf:",
            ),
            "lost worker 2 (c:3); start all workers again",
        ),
        (
            # Worker 2 hands on what it heard from the coordinator.
            tf.errors.UnavailableError(
                None,
                None,
                "Collective ops is aborted by: Error reported from /job:worker/task:2: The following tasks are "
                "unhealthy (stopped sending heartbeats):\n/job:worker/replica:0/task:1\nThe tasks have crashed.",
            ),
            "lost worker 1 (b:2); ",
        ),
        (
            tf.errors.InternalError(None, None, "Collective ops is aborted by: something\nelse"),
            "the workers lost touch: Collective ops is aborted by: something; ",
        ),
    ],
)
def test_a_lost_worker_is_one_line(error, words):
    with pytest.raises(TrainingError) as raised, worker_errors(as_worker(0)):
        raise error
    assert str(raised.value).startswith(words) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.InternalError(None, None, "{{node x/device:/job:worker/replica:0/task:1}} out of range"),
        tf.errors.InvalidArgumentError(None, None, "Collective ops of other shapes"),
        ValueError("collective"),
    ],
)
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error)) as raised, worker_errors(as_worker(0)):
        raise error
    assert raised.value is error
