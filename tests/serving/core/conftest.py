"""Small models of TensorFlow 1 and a folder for versions."""

import pytest

from tests.serving.other_models import write_half_plus_two


@pytest.fixture(scope="session")
def half_plus_three(tmp_path_factory):
    """Folder of a SavedModel that computes y = x / 2 + 3."""
    return write_half_plus_two(tmp_path_factory.mktemp("other_models") / "half_plus_three", offset=3.0)


@pytest.fixture
def base(tmp_path):
    """An empty folder for versions."""
    (tmp_path / "base").mkdir()
    return tmp_path / "base"
