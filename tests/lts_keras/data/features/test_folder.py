"""Folders of another model's features: written and read back, and what is said of each wrong one."""

import ast
import json
import math

import numpy as np
import pytest

from lts_keras.data.features.files import look_at, read_sentence, write_sentence
from lts_keras.data.features.folder import FeatureFolder, FeatureHeader, open_features
from lts_keras.data.schema import DataError

HEADER = {"format": 1, "channels": 3, "grid": 2, "image_size": 16, "image_resize": "letterbox", "prior": "logits"}
READ = FeatureHeader(3, 2, 16)


def arrays(seed=0):
    random = np.random.default_rng(seed)
    return {"features": random.normal(size=(2, 2, 3)).astype("float16"), "prior": random.normal(size=(2, 2, 1))}


def make(folder, files=2, header=HEADER, lines=None):
    """A folder of so many sentences `text 0`, `text 1` ... of refs 0, 1 ... of the data set `set`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "features.json").write_text(json.dumps(header))
    entries = []
    for number in range(files):
        write_sentence(folder / f"{number}.npz", **arrays(number))
        entries.append(
            {"file": f"{number}.npz", "dataset": "set", "ref_id": str(number), "expression": f"text {number}"}
        )
    text = "\n".join(json.dumps(entry) for entry in entries) if lines is None else lines
    (folder / "index.jsonl").write_text(text, encoding="utf-8")
    return folder


def test_what_is_written_is_read(tmp_path):
    folder = FeatureFolder(make(tmp_path / "features"))
    for number in range(2):
        features, prior = folder.read("set", str(number), f" text  {number}")
        np.testing.assert_array_equal(features, arrays(number)["features"].astype("float32"))
        np.testing.assert_array_equal(prior, arrays(number)["prior"].astype("float32"))
        assert features.dtype == prior.dtype == "float32"


def test_files_are_read_without_pythons_own_parser(tmp_path, monkeypatch):
    """Which numpy's reader calls, and which in Python 3.11 fails now and then where several threads read files."""

    def parse(*_, **__):
        raise SystemError("AST constructor recursion depth mismatch")

    folder = make(tmp_path / "features")
    with monkeypatch.context() as patched:
        patched.setattr(ast, "parse", parse)
        features, prior = FeatureFolder(folder).read("set", "0", "text 0")
    np.testing.assert_array_equal(features, arrays(0)["features"].astype("float32"))
    np.testing.assert_array_equal(prior, arrays(0)["prior"].astype("float32"))


def test_arrays_in_fortrans_order_are_read(tmp_path):
    values = arrays(0)
    np.savez(
        tmp_path / "a.npz",
        features=np.asfortranarray(values["features"], "float32"),
        prior=np.asarray(values["prior"], "float32"),
    )
    np.testing.assert_array_equal(read_sentence(tmp_path / "a.npz", READ)[0], values["features"].astype("float32"))


def test_features_beyond_16_bits_stay_finite(tmp_path):
    write_sentence(tmp_path / "a.npz", np.full((2, 2, 3), 1e6), np.full((2, 2, 1), 1e6))
    features, prior = read_sentence(tmp_path / "a.npz", READ)
    assert (features == 65504).all() and (prior == 1e6).all()


def test_probabilities_become_logits(tmp_path):
    np.savez(
        tmp_path / "a.npz", features=np.zeros((2, 2, 3), "float32"), prior=np.array([[0.25, 0.5], [0, 1]], "float32")
    )
    _, prior = read_sentence(tmp_path / "a.npz", FeatureHeader(3, 2, 16, prior="probabilities"))
    largest = math.log(1e6)
    np.testing.assert_allclose(prior[..., 0], [[-math.log(3), 0], [-largest, largest]], rtol=2e-2, atol=1e-6)
    np.testing.assert_allclose(prior[0, 0, 0], -math.log(3), rtol=1e-6)


def spoil(**changes):
    def write(path):
        values = arrays() | changes
        np.savez(path, **{name: value for name, value in values.items() if value is not None})

    return write


def objects(path):
    np.savez(path, features=np.full((2, 2, 3), None), prior=arrays()["prior"].astype("float32"))


def cut(path):
    write_sentence(path, **arrays())
    path.write_bytes(path.read_bytes()[:-30])


def changed(path):
    write_sentence(path, **arrays())
    content = bytearray(path.read_bytes())
    content[content.index(arrays()["features"].tobytes()) + 2] ^= 255
    path.write_bytes(bytes(content))


HALF = arrays()["features"]
NAN, INF = HALF.copy(), HALF.copy()
NAN[0, 0, 0], INF[0, 0, 0] = np.nan, np.inf
PRIOR = arrays()["prior"].astype("float32")
BAD = {
    "cut": (cut, "not an .npz file of features and prior that can be read"),
    "changed": (changed, "not an .npz file of features and prior that can be read"),
    "text": (lambda path: path.write_text("features"), "not an .npz file of features and prior that can be read"),
    "gone": (lambda path: path.unlink(), "no such file"),
    "pickled": (objects, "features must be float16 or float32. Found: object"),
    "no prior": (spoil(prior=None), "prior.npy"),
    "channels": (spoil(features=HALF[..., :2], prior=PRIOR), r"features must have the shape \(2, 2, 3\).*\(2, 2, 2\)"),
    "grid": (spoil(prior=np.zeros((3, 2), "float32")), r"prior must have the shape \(2, 2\) or \(2, 2, 1\).*\(3, 2\)"),
    "integers": (spoil(features=np.zeros((2, 2, 3), "int32"), prior=PRIOR), "float16 or float32. Found: int32"),
    "doubles": (spoil(), "prior must be float16 or float32. Found: float64"),
    "nan": (spoil(features=NAN, prior=PRIOR), "features must be finite. Found: nan"),
    "inf": (spoil(features=INF, prior=PRIOR), "features must be finite. Found: inf"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_wrong_file_is_named(kind, tmp_path):
    folder, (write, line) = make(tmp_path / "features"), BAD[kind]
    write(folder / "0.npz")
    with pytest.raises(DataError, match=line) as error:
        read_sentence(folder / "0.npz", READ)
    assert str(error.value).startswith(f"{folder / '0.npz'}: ") and "\n" not in str(error.value)
    if kind in ("nan", "inf"):
        look_at(folder / "0.npz", READ)  # what lies in the values alone is found when they are read
        return
    with pytest.raises(DataError, match=line):
        FeatureFolder(folder)


def test_probabilities_are_between_0_and_1(tmp_path):
    spoil(features=HALF, prior=PRIOR + 2)(tmp_path / "a.npz")
    with pytest.raises(DataError, match="prior must be probabilities"):
        read_sentence(tmp_path / "a.npz", FeatureHeader(3, 2, 16, prior="probabilities"))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"format": 2}, "format: 1"),
        ({"grid": 0}, "grid must be a whole number above 0. Found: 0"),
        ({"channels": None}, "channels must be a whole number"),
        ({"image_size": 18}, "image_size must be a multiple of twice the grid, 4. Found: 18"),
        ({"image_resize": "crop"}, "image_resize must be letterbox or plain. Found: 'crop'"),
        ({"prior": "scores"}, "prior must be logits or probabilities. Found: 'scores'"),
        ({"threshold": 1}, "threshold must be a probability"),
        ({"widht": 1}, "unknown key widht"),
    ],
)
def test_a_wrong_header_is_named(change, line, tmp_path):
    folder = make(tmp_path / "features", header=HEADER | change)
    with pytest.raises(DataError, match=f"features.json: .*{line}"):
        FeatureFolder(folder)


LINE = '{"file": "0.npz", "dataset": "set", "ref_id": "0", "expression": "a"}'


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ("", "no lines"),
        ("{", "line 1: must be a JSON object"),
        (f"{LINE}\n[1]", "line 2: must be a JSON object"),
        (LINE.replace('"a"', "3"), "line 1: expression must be text. Found: 3"),
        (LINE.replace("0.npz", "../0.npz"), "line 1: file must be a path inside"),
        (LINE.replace("0.npz", "/0.npz"), "line 1: file must be a path inside"),
        (f"{LINE}\n\n{LINE.replace('0.npz', '1.npz')}", "line 3: the sentence of line 1 with another file"),
    ],
)
def test_a_wrong_line_of_the_index_is_named(lines, line, tmp_path):
    folder = make(tmp_path / "features", lines=lines)
    with pytest.raises(DataError, match=f"index.jsonl: {line}"):
        FeatureFolder(folder)


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(DataError, match=r"data.features: .*no such folder"):
        open_features(tmp_path / "features")
    folder = make(tmp_path / "features")
    with pytest.raises(DataError, match="no line for the sentence 'text 7' of ref 0 of set"):
        FeatureFolder(folder).read("set", "0", "text 7")
    with pytest.raises(DataError, match=r"model.refiner_channels must be 3. Received: 4"):
        FeatureFolder(folder).check_channels(4)
    (folder / "index.jsonl").unlink()
    with pytest.raises(DataError, match="not whole"):
        open_features(folder)


def test_the_digest_is_that_of_the_content(tmp_path):
    folder = make(tmp_path / "one")
    digest = FeatureFolder(folder).digest
    other = make(tmp_path / "other", header=HEADER | {"model": "a name for people"})
    (other / "0.npz").rename(other / "renamed.npz")
    (other / "index.jsonl").write_text((other / "index.jsonl").read_text().replace("0.npz", "renamed.npz"))
    assert FeatureFolder(other).digest == digest
    write_sentence(folder / "1.npz", arrays(1)["features"], arrays(1)["prior"] + 1)
    changed = FeatureFolder(folder).digest
    assert changed != digest
    assert FeatureFolder(make(tmp_path / "size", header=HEADER | {"image_size": 32})).digest not in (digest, changed)
