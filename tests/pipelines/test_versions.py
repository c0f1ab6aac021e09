import os

import hypothesis
import pytest
from hypothesis import strategies as st

from lts_keras.config.errors import ConfigError
from pipelines import versions


def saved_model(folder, content):
    (folder / "variables").mkdir(parents=True, exist_ok=True)
    (folder / "saved_model.pb").write_text(content)
    return folder


def content_of(serving_dir, version):
    return (serving_dir / str(version) / "saved_model.pb").read_text()


@pytest.fixture
def served(tmp_path):
    """A served folder with the versions 1 to 3, holding "a", "b" and "c"."""
    for content in "abc":
        versions.publish(tmp_path / "serving", saved_model(tmp_path / content, content), {"model": content})
    return tmp_path / "serving"


def test_publishing_counts_up_and_keeps_what_each_was_made_of(served):
    assert list(versions.published(served)) == [1, 2, 3]
    assert [content_of(served, version) for version in (1, 2, 3)] == ["a", "b", "c"]
    version, lineage = versions.served(served)
    assert (version, lineage["model"], lineage["version"]) == (3, "c", 3)


def test_a_number_is_never_used_below_one_that_is_there(served, tmp_path):
    saved_model(served / "41", "by hand")
    assert versions.publish(served, tmp_path / "a", {}) == 42


def test_a_version_is_what_a_server_takes_for_one(served, tmp_path):
    os.rename(served / "3", served / "00000003")
    saved_model(served / str(2**63), "beyond what a request can name")
    saved_model(served / "٤", "no digits of a version")
    (served / "9").write_text("a file")
    assert versions.served(served)[1]["model"] == "c"
    assert versions.publish(served, tmp_path / "a", {}) == 4
    assert versions.rollback(served, to=3) == (5, 3)
    assert content_of(served, 5) == "c" and versions.lineage_of(served, 5)["copy_of"] == 3


def test_what_a_killed_process_left_is_no_version_and_is_removed(served, tmp_path):
    saved_model(served / ".publishing-4", "half")
    assert list(versions.published(served)) == [1, 2, 3]
    versions.publish(served, tmp_path / "a", {})
    assert sorted(path.name for path in served.iterdir() if path.is_dir()) == ["1", "2", "3", "4"]


def test_a_source_that_is_not_there_leaves_the_folder_as_it_was(served, tmp_path):
    with pytest.raises(OSError):
        versions.publish(served, tmp_path / "nowhere", {})
    assert list(versions.published(served)) == [1, 2, 3]


def test_rollback_publishes_the_one_before_as_the_newest(served):
    assert versions.rollback(served) == (4, 2)
    assert content_of(served, 4) == "b" and versions.lineage_of(served, 4)["copy_of"] == 2


def test_rolling_back_twice_goes_back_two_steps_and_a_third_time_says_that_nothing_is_left(served):
    versions.rollback(served)
    assert versions.rollback(served) == (5, 1)
    with pytest.raises(ConfigError, match="no version older than 1, which is served"):
        versions.rollback(served)


def test_rollback_to_a_named_version(served):
    assert versions.rollback(served, to=1) == (4, 1)
    assert content_of(served, 4) == "a"
    with pytest.raises(ConfigError, match="holds no version 9; there are 1, 2, 3, 4"):
        versions.rollback(served, to=9)


def test_an_empty_folder_is_told(tmp_path):
    assert versions.served(tmp_path / "none") == (None, {})
    with pytest.raises(ConfigError, match="holds no version"):
        versions.rollback(tmp_path)


@hypothesis.given(st.lists(st.sampled_from(["push", "back", "to first"]), max_size=8))
@hypothesis.settings(max_examples=30)
def test_the_served_number_only_grows(tmp_path_factory, moves):
    folder = tmp_path_factory.mktemp("serving")
    source = saved_model(tmp_path_factory.mktemp("model"), "x")
    versions.publish(folder, source, {})
    for move in moves:
        before = versions.served(folder)[0]
        try:
            if move == "push":
                versions.publish(folder, source, {})
            else:
                versions.rollback(folder, to=1 if move == "to first" else None)
        except ConfigError:
            assert versions.served(folder)[0] == before
        else:
            assert versions.served(folder)[0] == before + 1
