import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lts_keras.commands.errors import InspectError
from lts_keras.commands.identify import KINDS, identify
from tests.conftest import run_python


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# IR version 8, producer "x", a graph of two bytes.
ONNX = b"\x08\x08\x12\x01x\x3a\x02\x0a\x00"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (struct.pack("<3iq2f", 0, 2, 0, 32013312, 0.5, 0.5), "darknet"),
        (struct.pack("<3ii", 0, 1, 0, 0), "darknet"),
        (b"the 0.1 -2e-3 4\nof 1 2 3\n", "glove"),
        (b"2 3\nthe 0.1 -2e-3 4\nof 1 2 3\n", "glove"),
        ("naïve 1 2\n".encode(), "glove"),
        (b"the 1 2 3\nof 1 2 cut\nand 1 2 3\n", "glove"),
        (ONNX, "onnx"),
        (ONNX[:-1], "onnx"),
    ],
)
def test_a_file_is_told_by_its_content_whatever_its_name(tmp_path, content, kind):
    path = write(tmp_path / "misleading.keras", content)
    assert identify(path) == (kind, path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "an empty file"),
        (b"the cat sat on the mat\n", "a text file of 23 bytes"),
        (b"the\nof\nand\n", "a text file"),
        (b"a,b\n1,2\n3,4\n", "a text file"),
        (b'{"images": [1, 2, 3]}', "a text file"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a binary file"),
        (struct.pack("<3iq", 0, 0, 0, 0), "a binary file"),
        (struct.pack("<3iq", 11, 2, 0, 0), "a binary file"),
        (b"\x08\x01\x12\x03abc", "file of 7 bytes"),  # a saved_model.pb begins so: no graph of ONNX
        (b"\x08\x08\x12\x01x", "file of 5 bytes"),  # no graph
        (b"PK\x03\x04" + bytes(60), "a binary file"),
    ],
)
def test_anything_else_is_one_line_that_says_what_it_is_not(tmp_path, content, told):
    with pytest.raises(InspectError) as error:
        identify(write(tmp_path / "file", content))
    message = str(error.value)
    assert told in message and all(kind in message for kind in KINDS.values()) and "\n" not in message


def test_folders_are_told_by_what_lies_in_them(tmp_path):
    assert identify(write(tmp_path / "p/model.json", b"{}").parent) == ("preset", tmp_path / "p")
    assert identify(write(tmp_path / "s/saved_model.pb", b"").parent) == ("saved_model", tmp_path / "s")
    data = write(tmp_path / "w/data/manifest.json", b"{}").parent
    assert identify(data) == identify(tmp_path / "w") == ("data", data)


@pytest.mark.parametrize(
    ("file", "asked", "told"),
    [
        ("v/3/saved_model.pb", "v", "the newest is {folder}/v/12"),
        ("s/saved_model.pb", "s/saved_model.pb", "part of a SavedModel folder (give the folder {folder}/s)"),
        ("p/model.weights.h5", "p/model.weights.h5", "part of a preset folder"),
        ("e/f/g.txt", "e", "a folder of other things"),
        ("e/f/g.txt", "nowhere", "nowhere: cannot be read: No such file"),
    ],
)
def test_a_near_miss_says_what_to_give(tmp_path, file, asked, told):
    write(tmp_path / file, b"\x89x\0")
    write(tmp_path / "v/12/saved_model.pb", b"")
    with pytest.raises(InspectError) as error:
        identify(tmp_path / asked)
    assert told.format(folder=tmp_path) in str(error.value)


@given(st.binary(max_size=80), st.sampled_from([b"", b"\x08\x08", b"PK\x03\x04", b"a 1 2\n", b"\0\0\0\0\2\0\0\0"]))
def test_no_bytes_are_more_than_a_kind_or_one_line(tmp_path_factory, content, start):
    path = write(tmp_path_factory.getbasetemp() / "identify-any", start + content)
    try:
        kind, same = identify(path)
    except InspectError as error:
        assert "\n" not in str(error)
    else:
        assert kind in KINDS and same == path


def test_telling_needs_no_tensorflow():
    code = "import sys, lts_keras.commands.identify; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert run_python("-c", code).returncode == 0
