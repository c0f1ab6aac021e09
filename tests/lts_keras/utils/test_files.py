import os
import stat

import pytest

from lts_keras.utils.files import atomic_folder, atomic_write, digest


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
