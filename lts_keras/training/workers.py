"""Several machines: the strategy over them, what they do together, and one line when one of them is lost."""

import contextlib
import functools
import re
import socket
import time
import zlib

import tensorflow as tf
from tensorflow.compiler.xla.tsl.protobuf.coordination_config_pb2 import CoordinatedJob
from tensorflow.python.distribute import multi_worker_util
from tensorflow.python.eager import context

from lts_keras.config.errors import ConfigError
from lts_keras.training.errors import TrainingError
from lts_keras.training.tf_config import read_tf_config

__all__ = ["agree", "any_worker", "barrier", "chief_first", "is_chief", "multi_worker_strategy", "worker_errors"]

_LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)
"""What TensorFlow raises where a collective ends without all of its workers."""

_COLLECTIVE = re.compile("collective|remote target|heartbeat|coordination", re.IGNORECASE)

_HEARTBEAT_SECONDS = 20

_TASK = re.compile(r"/job:(\w+)/(?:replica:\d+/)?task:(\d+)")


def multi_worker_strategy(wait_seconds=600, progress=print):
    """MultiWorkerMirroredStrategy over the workers that `TF_CONFIG` names; comes back when all of them are there.

    Must be called before TensorFlow uses a device. A worker that is killed or hangs later is noticed by TensorFlow's
    coordination service within 20 s, by then every collective fails; see `worker_errors`.

    Args:
        wait_seconds: float. How long to wait for the others.
        progress: function that takes a line of text.

    Returns:
        `tf.distribute.MultiWorkerMirroredStrategy`.

    Raises:
        ConfigError: `TF_CONFIG` is wrong, or this worker's port is taken.
        TrainingError: not all workers came.
    """
    cluster = read_tf_config()
    for gpu in tf.config.list_physical_devices("GPU"):
        # Else TensorFlow takes a GPU's whole memory, and nothing else runs there.
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(gpu, True)
    _wait_for_all(cluster, wait_seconds, progress)
    _set_heartbeat_timeout()
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except _LOST as error:
        raise TrainingError(f"{cluster.name(cluster.own)} cannot join the others: {_first_line(error)}") from error
    except RuntimeError as error:
        raise ConfigError(f"TF_CONFIG: several workers must be joined before any device is used: {error}") from error


def _set_heartbeat_timeout():
    """Gives workers longer than TensorFlow's 10 s to answer: one on a machine that is busy for a moment is not lost.

    The strategy takes over what is configured here; it has no argument for it.
    """
    if context.context().coordination_service is not None:
        return
    spec = tf.distribute.cluster_resolver.TFConfigClusterResolver().cluster_spec()
    jobs = [CoordinatedJob(name=job, num_tasks=spec.num_tasks(job)) for job in ("chief", "worker") if job in spec.jobs]
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=multi_worker_util.coordination_leader(spec),
        heartbeat_timeout_in_ms=_HEARTBEAT_SECONDS * 1000,
        coordinated_jobs=jobs,
    )


def _wait_for_all(cluster, wait_seconds, progress):
    """Waits until every worker's port answers.

    TensorFlow itself waits for an hour, without a word, for a worker that was never started. A port answers either
    here, or, where a worker has seen all others before this one did, because TensorFlow already listens there.
    """
    missing = [task for task in cluster.addresses if task != cluster.own]
    end, said = time.monotonic() + wait_seconds, time.monotonic() + 5
    with _listen(cluster):
        while missing := [task for task in missing if not _answers(cluster.addresses[task])]:
            names = ", ".join(cluster.name(task) for task in missing)
            if time.monotonic() > end:
                raise TrainingError(f"no answer within {wait_seconds:g} s from {names}; were all workers started?")
            if time.monotonic() > said:
                progress(f"waiting for {names}")
                said = time.monotonic() + 30
            time.sleep(0.2)


def _listen(cluster):
    address = cluster.addresses[cluster.own]
    port = int(address.rpartition(":")[2])
    # As TensorFlow's own server: on every address of this machine.
    family, both = (socket.AF_INET6, True) if socket.has_dualstack_ipv6() else (socket.AF_INET, False)
    try:
        return socket.create_server(("", port), family=family, backlog=1024, dualstack_ipv6=both)
    except OSError as error:
        raise ConfigError(
            f"TF_CONFIG: this worker must be able to listen on port {port}: {error.strerror}. "
            f"Received: {cluster.name(cluster.own)}"
        ) from error


def _answers(address):
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError:
        return False
    return True


def is_chief(strategy):
    """Whether this process writes files: always, but on several machines the chief alone, or worker 0 without one."""
    if not _is_multi_worker(strategy):
        return True
    resolver = strategy.cluster_resolver
    if "chief" in resolver.cluster_spec().jobs:
        return resolver.task_type == "chief"
    return resolver.task_id == 0


def _is_multi_worker(strategy):
    resolver = getattr(strategy, "cluster_resolver", None)
    return resolver is not None and bool(resolver.cluster_spec().as_dict())


def any_worker(strategy, flag):
    """Whether `flag` is true on any worker; all of them must ask. Also a barrier: none goes on before all are here."""
    if not _is_multi_worker(strategy):
        return bool(flag)
    return _sum(strategy, flag) > 0


def _sum(strategy, value):
    with worker_errors(strategy):
        return float(_graph_sum(strategy)(tf.constant(float(value), "float64")))


@functools.cache
def _graph_sum(strategy):
    """A sum over the workers, as a graph: outside of one, TensorFlow leaves threads behind where it fails."""
    # A new tensor: a cached constant may lie on a device that has no name in the cluster.
    return tf.function(lambda value: strategy.reduce("SUM", tf.identity(value), axis=None))


def barrier(strategy):
    """Waits until all workers are here."""
    any_worker(strategy, False)


@contextlib.contextmanager
def chief_first(strategy):
    """A block that the chief runs through before any other worker begins it: what writes a shared folder, then reads.

    If the chief leaves it by an exception, the others wait until that ends its process.
    """
    if not is_chief(strategy):
        barrier(strategy)
    yield
    if is_chief(strategy):
        barrier(strategy)


def agree(strategy, what, value):
    """Ends a training whose workers did not begin alike; all of them must ask.

    Args:
        strategy: `tf.distribute.Strategy`.
        what: str. What `value` is, for the error.
        value: bytes or str.

    Raises:
        TrainingError: it is not the same on all workers.
    """
    if not _is_multi_worker(strategy):
        return
    own = zlib.crc32(value.encode() if isinstance(value, str) else value)
    workers = sum(map(len, strategy.cluster_resolver.cluster_spec().as_dict().values()))
    # 32-bit numbers add up exactly in float64; where they differ, they cannot all be their mean.
    if any_worker(strategy, _sum(strategy, own) != own * workers):
        raise TrainingError(
            f"the workers do not begin alike: {what} differs; they need one work directory that all of them share, "
            "the same configuration and the same code"
        )


@contextlib.contextmanager
def worker_errors(strategy):
    """Turns what TensorFlow raises when a worker is lost into one line.

    A killed process is noticed by its closed connections, at the latest, as one that hangs or a machine that is gone,
    by its missing heartbeats: within some 20 s. The others' processes take up to 10 s more to end.

    Raises:
        TrainingError: naming the worker, where TensorFlow does.
    """
    try:
        yield
    except _LOST as error:
        text = str(error)
        if not _is_multi_worker(strategy) or not _COLLECTIVE.search(text):
            raise
        raise TrainingError(
            f"{_lost(strategy, text)}; start all workers again, they go on behind the last whole epoch"
        ) from error


def _lost(strategy, text):
    """Which worker was lost, as far as the message says; several workers down the line may name each other."""
    cluster = strategy.cluster_resolver.cluster_spec()
    resolver = strategy.cluster_resolver
    own = (resolver.task_type, resolver.task_id)
    unhealthy = text.partition("unhealthy")[2]
    for part in (unhealthy, text):
        tasks = dict.fromkeys((role, int(index)) for role, index in _TASK.findall(part))
        for role, index in tasks:
            if (role, index) != own and role in cluster.jobs and index < cluster.num_tasks(role):
                return f"lost {role} {index} ({cluster.task_address(role, index)})"
    return f"the workers lost touch: {_first_line(text)}"


def _first_line(error):
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
