"""What is a version, and what is said of the rest."""

import os
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.core.versions import identity_of, list_versions, look, version_of

LARGEST = 2**63 - 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**70), st.integers(0, 5))
def test_a_number_within_int64_is_a_version_with_zeros_in_front_too(number, zeros):
    expected = number if number <= LARGEST else None
    assert version_of("0" * zeros + str(number)) == expected


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=8).filter(lambda text: not (text.isascii() and text.isdigit())))
def test_any_other_name_is_none(name):
    assert version_of(name) is None


@pytest.mark.parametrize("name", ["", "-1", "+1", "1.0", " 1", "1 ", "1e3", "0x1", "٣", "²", "1_0", "v1", ".1"])
def test_what_python_or_people_may_take_for_a_number(name):
    assert version_of(name) is None


def test_versions_are_found_by_their_names_whatever_is_in_them(base):
    for name in ("1", "00000123", "7", str(LARGEST), str(LARGEST + 1), ".publishing-9", "tmp", "-4"):
        (base / name).mkdir()
    (base / "5").write_text("a file")
    (base / "6").symlink_to(base / "7")
    (base / "8").symlink_to(base / "nowhere")  # a file system that is away for the moment: loading it will say so
    (base / "9").symlink_to(base / "9")  # one that cannot even be looked at
    assert list_versions(base) == {
        1: base / "1",
        6: base / "6",
        7: base / "7",
        8: base / "8",
        9: base / "9",
        123: base / "00000123",
        LARGEST: base / str(LARGEST),
    }
    assert dict(look(base).passed_over) == {
        str(base / "5"): "it is a file; a version is a folder",
        str(base / str(LARGEST + 1)): f"versions end at {LARGEST}",
    }


def test_of_two_names_for_one_version_the_last_counts_and_the_other_is_named(base):
    (base / "01").mkdir()
    (base / "1").mkdir()
    assert list_versions(base) == {1: base / "1"}
    assert look(base).passed_over == ((str(base / "01"), "1 is the same version and is taken"),)


def test_a_folder_that_is_not_there_is_an_error_and_not_empty(base):
    with pytest.raises(FileNotFoundError):
        list_versions(base / "none")


def reason(base, path):
    return dict(look(base).passed_over)[str(path)]


def test_versions_named_v1_are_named(base, half_plus_two):
    shutil.copytree(half_plus_two, base / "v1")
    assert f"its name is no number; a version's folder is named by its number alone, such as {base / '1'}" == reason(
        base, base / "v1"
    )


def test_a_base_path_one_level_too_high_is_named(base, half_plus_two):
    shutil.copytree(half_plus_two, base / "lts" / "3")
    assert f"the base path is {base / 'lts'} and not {base}" in reason(base, base / "lts")


def test_the_version_folder_itself_is_named(half_plus_two):
    assert "it is a version's own folder" in reason(half_plus_two, half_plus_two)


def test_an_empty_folder_is_named_until_there_is_a_version(base):
    assert "it holds no version" in reason(base, base)
    (base / "1").mkdir()
    assert look(base).passed_over == ()


def test_other_folders_are_nobodys_business(base):
    for name in ("notes", "backup/old", ".cache"):
        (base / name).mkdir(parents=True)
    (base / "1").mkdir()
    (base / "README.md").write_text("about")
    assert look(base).passed_over == ()


def test_a_wrong_folder_with_thousands_of_entries_gives_few_reasons(base):
    for number in range(100):
        (base / f"v{number}").mkdir()
        (base / f"v{number}" / "saved_model.pb").touch()
    assert len(look(base).passed_over) == 20


def test_the_identity_changes_with_every_file_that_a_load_reads(base, half_plus_two):
    folder = base / "1"
    shutil.copytree(half_plus_two, folder)
    (folder / "assets").mkdir()
    seen = {identity_of(folder)}
    for change in (
        lambda: (folder / "saved_model.pb").write_bytes(b"longer than nothing"),
        lambda: (folder / "variables" / "variables.index").unlink(),
        lambda: os.utime(folder / "variables" / "variables.data-00000-of-00001", ns=(1, 1)),
        lambda: (folder / "assets" / "words.txt").write_text("a"),
        lambda: shutil.rmtree(folder / "variables"),
        lambda: (folder / "saved_model.pb").unlink(),
    ):
        change()
        assert identity_of(folder) not in seen
        seen.add(identity_of(folder))
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "lineage.json").write_text("{}")
    assert identity_of(folder) in seen


def test_the_same_files_at_another_place_are_another_version(base, half_plus_two):
    shutil.copytree(half_plus_two, base / "1")
    before = identity_of(base / "1")
    assert identity_of(base / "1") == before
    os.rename(base / "1", base / "2")
    assert identity_of(base / "2") != before
