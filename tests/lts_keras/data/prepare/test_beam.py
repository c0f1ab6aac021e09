import pytest

from lts_keras.data.prepare.prepare import prepare
from lts_keras.data.schema import DataError
from tests.lts_keras.data import data_trees
from tests.lts_keras.data.data_trees import contents

pytest.importorskip("apache_beam", reason="the extra `beam` is not installed")


@pytest.fixture(scope="module")
def beam():
    from lts_keras.data.prepare import beam

    return beam


def test_the_bytes_are_those_of_plain_python(beam, tmp_path):
    section = data_trees.write_refer(tmp_path / "tree")
    scenes = {"kind": "scenes", "num_photos": {"train": 5}}
    config = data_trees.config(tmp_path / "tree", section, scenes)
    plain = contents(prepare(config, tmp_path / "plain"))
    assert contents(beam.prepare_with_beam(config, tmp_path / "beam")) == plain


def test_a_finding_stops_it_too(beam, tmp_path):
    section = data_trees.write_refer(tmp_path / "tree")
    (tmp_path / "tree" / "photos" / "000000000001.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="unreadable photos: 1 of 4"):
        beam.prepare_with_beam(data_trees.config(tmp_path / "tree", section), tmp_path / "work")
