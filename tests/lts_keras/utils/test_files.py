import os
import stat
import subprocess
import sys
import time

import pytest

from lts_keras.utils import files
from lts_keras.utils.files import atomic_folder, atomic_write, digest, sweep
from tests.processes import started


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "words.txt"
    atomic_write(path, "café\n")
    atomic_write(path, b"bytes")
    assert path.read_bytes() == b"bytes"
    assert os.listdir(path.parent) == ["words.txt"]


def test_others_may_read_what_was_written(tmp_path):
    old = os.umask(0o022)
    try:
        mode = atomic_write(tmp_path / "file", "x").stat().st_mode
    finally:
        os.umask(old)
    assert stat.S_IMODE(mode) == 0o644


def test_a_folder_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "data"
    with atomic_folder(path) as folder:
        (folder / "a").write_text("1")
        assert not path.exists()
    with pytest.raises(RuntimeError), atomic_folder(path) as folder:
        (folder / "b").write_text("2")
        raise RuntimeError
    assert os.listdir(path) == ["a"]
    assert os.listdir(tmp_path) == ["data"]


def test_a_folder_is_replaced(tmp_path):
    for name in "ab":
        with atomic_folder(tmp_path / "data") as folder:
            (folder / name).write_text(name)
    assert os.listdir(tmp_path / "data") == ["b"]
    assert os.listdir(tmp_path) == ["data"]


def test_digest_is_sha256(tmp_path):
    path = atomic_write(tmp_path / "file", "abc")
    assert digest(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


REPLACER = """
import itertools, sys
from lts_keras.utils.files import atomic_folder
for number in itertools.count():
    with atomic_folder(sys.argv[1]) as folder:
        for name in "abcdef":
            (folder / name).write_text(str(number))
    print(number, flush=True)
"""


def test_killed_at_any_moment_a_whole_folder_is_there(tmp_path):
    """Killed at different places of the loop, the folder is never missing and never mixed."""
    path = tmp_path / "kept"
    for delay in (0, 0.0003, 0.0007, 0.0011, 0.0017, 0.0023, 0.003, 0.004):
        with started([sys.executable, "-c", REPLACER, path], stdout=subprocess.PIPE, text=True) as process:
            for _ in range(3):
                process.stdout.readline()
            until = time.perf_counter() + delay
            while time.perf_counter() < until:
                assert path.is_dir()
        contents = {item.read_text() for item in path.iterdir()}
        assert len(contents) == 1 and len(os.listdir(path)) == 6
        sweep(tmp_path)
        assert os.listdir(tmp_path) == ["kept"]


def test_a_folder_that_was_moved_away_and_not_replaced_comes_back(tmp_path, monkeypatch):
    """Where the file system cannot exchange two names, a kill may fall between two renames."""
    monkeypatch.setattr(files, "_exchange", lambda *_: False)
    with atomic_folder(tmp_path / "kept") as folder:
        (folder / "a").write_text("old")
    rename, calls = os.rename, []

    def killed(source, target):
        calls.append(source)
        if len(calls) == 3:  # onto what is there, refused; the old one moved away; then the new one
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", killed)
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "kept") as folder:
        (folder / "a").write_text("new")
    monkeypatch.undo()
    assert not (tmp_path / "kept").exists()
    sweep(tmp_path)
    assert (tmp_path / "kept" / "a").read_text() == "old" and os.listdir(tmp_path) == ["kept"]


def test_sweeping_leaves_other_hidden_names_alone(tmp_path):
    (tmp_path / ".lock").write_text("")
    (tmp_path / ".data-0123").mkdir()
    (tmp_path / ".half.new-1-0123abcd").mkdir()
    (tmp_path / ".half.json.new-1-0123abcd").write_text("")
    sweep(tmp_path)
    sweep(tmp_path / "nowhere")
    assert sorted(os.listdir(tmp_path)) == [".data-0123", ".lock"]
