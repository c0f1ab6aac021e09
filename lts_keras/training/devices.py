"""Devices: one, several of one machine, or several machines; and whether a batch can be shared out among them."""

import contextlib
import os

import tensorflow as tf

from lts_keras.config.errors import ConfigError
from lts_keras.training.tf_config import read_tf_config
from lts_keras.training.workers import multi_worker_strategy
from lts_keras.utils.quiet import import_tensorflow

__all__ = ["check_batch", "make_strategy", "num_workers"]


def make_strategy(num_devices=None, progress=print):
    """The strategy to train under.

    With `TF_CONFIG` of more than one worker, MultiWorkerMirroredStrategy; on one device none (TensorFlow's default),
    so that XLA can be had; else MirroredStrategy, with NCCL on GPUs. Without a GPU, several replicas are logical parts
    of one processor: for tests.

    Args:
        num_devices: int. Replicas on this machine; all GPUs, or one processor, if `None`.
        progress: function that takes a line of text; told what is waited for.

    Returns:
        `tf.distribute.Strategy`.

    Raises:
        ConfigError: if the machine has fewer devices, or `TF_CONFIG` is wrong.
        TrainingError: not all workers came.
    """
    if num_workers() > 1:
        # Its workers must be joined before any device is used; it sets what it needs itself.
        return multi_worker_strategy(progress=progress)
    import_tensorflow()  # memory of GPUs grows as it is needed
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus and (num_devices or 1) > 1:
        # TensorFlow can split a processor only before its first use.
        with contextlib.suppress(RuntimeError):
            parts = [tf.config.LogicalDeviceConfiguration()] * num_devices
            tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
    kind = "GPU" if gpus else "CPU"
    devices = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices(kind)]
    wanted = num_devices or (len(devices) if gpus else 1)
    if wanted > len(devices):
        raise ConfigError(f"train.num_devices: this process has {len(devices)} {kind} device(s). Received: {wanted}")
    if wanted == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([f"/{device}" for device in devices[:wanted]])


def num_workers():
    """Number of workers that `TF_CONFIG` names; 1 without it.

    Raises:
        ConfigError: it cannot be read.
    """
    return len(read_tf_config().addresses) if os.environ.get("TF_CONFIG") else 1


def check_batch(batch_size, num_replicas):
    """Refuses a batch that cannot be shared out evenly.

    An uneven share weighs its examples differently, and an empty one makes batch norm's parameters NaN.

    Raises:
        ConfigError: naming the sizes and numbers of devices that would fit.
    """
    if batch_size % num_replicas == 0:
        return
    lower = batch_size // num_replicas * num_replicas
    sizes = " or ".join(str(size) for size in (lower, lower + num_replicas) if size)
    fitting = [str(count) for count in range(1, batch_size + 1) if batch_size % count == 0]
    shown = ", ".join(fitting if len(fitting) <= 8 else [*fitting[:7], "..."])
    raise ConfigError(
        f"train.batch_size must divide by the number of replicas, {num_replicas}: take {sizes}, "
        f"or a train.num_devices of {shown}. Received: {batch_size}"
    )
