import multiprocessing
import time

import pytest

from lts_keras import config
from lts_keras.utils import workdir


def hold(path, ready):
    with workdir.lock(path):
        ready.set()
        time.sleep(60)


@pytest.fixture
def other_process(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=hold, args=(tmp_path / ".lock", ready))
    process.start()
    assert ready.wait(60)
    yield process
    process.kill()
    process.join()


def test_a_second_command_in_the_same_folder_is_refused_with_the_holder_named(tmp_path, other_process):
    with pytest.raises(workdir.BusyError, match=f"in use by process {other_process.pid}"):
        with workdir.open_workdir(tmp_path, config.dump_config(config.Config())):
            pass
    assert not (tmp_path / "config.yaml").exists(), "the other command's configuration must stand"


def test_a_killed_holder_leaves_no_lock(tmp_path, other_process):
    other_process.kill()
    with workdir.open_workdir(tmp_path, config.dump_config(config.Config(name="mine")), wait_seconds=10) as folder:
        assert config.load_config(folder / "config.yaml").name == "mine"
