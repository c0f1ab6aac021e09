"""`run.json`: what a training ran with, for whoever has to make it again."""

import datetime
import importlib.metadata
import json
import platform
import socket
from pathlib import Path

import tensorflow as tf

from lts_keras.utils.files import atomic_write, digest
from lts_keras.utils.version import code_revision, code_version

__all__ = ["write_run_record"]

_PACKAGES = ("tensorflow", "keras", "tensorflow-text", "numpy")


def write_run_record(path, config, data_dir, strategy, state, status, seconds):
    """Writes `run.json`.

    Args:
        path: path of the file.
        config: `Config`, resolved.
        data_dir: folder of prepared data.
        strategy: `tf.distribute.Strategy`.
        state: `RunState`.
        status: str: `"running"`, `"finished"`, or why it failed.
        seconds: float. Wall time of this process' training so far.
    """
    devices = [device.name for device in tf.config.list_logical_devices()]
    record = {
        "status": status,
        "time": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "processor_seconds": round(state.processor_seconds, 1),
        "epochs": state.epochs,
        "counted_epoch": None if state.best_epoch is None else state.best_epoch + 1,
        "rollbacks": state.rollbacks,
        "run": state.run_id,
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "devices": devices,
        "replicas": strategy.num_replicas_in_sync,
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in _PACKAGES},
        "code_version": code_version(),
        "code_revision": code_revision(),
        "epochs_by_code": state.values["code"],
        "data": {name: digest(Path(data_dir) / name) for name in ("manifest.json", "vocabulary.txt")},
        "config": config.model_dump(mode="json"),
    }
    atomic_write(path, json.dumps(record, indent=1) + "\n")
