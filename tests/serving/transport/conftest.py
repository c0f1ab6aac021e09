"""What the tests of the transports share."""

import pytest


@pytest.fixture(scope="session")
def half_folder(half_plus_two, tmp_path_factory):
    """A folder of versions with half_plus_two as version 1."""
    base = tmp_path_factory.mktemp("half")
    (base / "1").symlink_to(half_plus_two)
    return base
