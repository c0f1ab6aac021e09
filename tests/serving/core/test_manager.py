"""Which versions answer, whatever happens to their folders."""

import dataclasses
import os
import shutil
import threading

import pytest

from serving.core import folders
from serving.core.events import FolderPassedOver, LookFailed, VersionChanged
from serving.core.loading import load_servable
from serving.core.manager import AVAILABLE, END, LOADING, UNLOADING
from serving.core.settings import ModelSettings
from serving.core.warm_up import WARM_UP_FILE
from serving.errors import RequestError
from serving.wire import protos
from tests.serving.core.model_folders import OPTIONS, Watched, ask, break_version, publish, spec, wait_for


def test_the_newest_version_answers_and_gives_way_to_the_next(base, half_plus_two, half_plus_three):
    publish(half_plus_two, base, "00000001")
    with Watched(base) as watched:
        watched.manager.refresh()
        watched.manager.start()
        assert watched.ask(4.0) == (1, 4.0) and watched.manager.ready
        publish(half_plus_three, base, 2)
        wait_for(lambda: watched.served() == 2)
        assert watched.ask(4.0) == (2, 5.0)
        wait_for(lambda: watched.state(1) == END)
    changes = [(event.version, event.state) for event in watched.of(VersionChanged)]
    assert changes[:6] == [(1, LOADING), (1, AVAILABLE), (2, LOADING), (2, AVAILABLE), (1, UNLOADING), (1, END)]
    assert [event.seconds is not None for event in watched.of(VersionChanged)[:2]] == [False, True]


def test_a_restart_with_a_broken_newest_version_serves_the_one_before(base, half_plus_two):
    publish(half_plus_two, base, 1)
    break_version(base, 2)
    break_version(base, 3)
    with Watched(base) as watched:
        watched.manager.refresh()
        assert watched.served() == 1
        states = watched.manager.states("m")
        assert [states[version].state for version in (1, 2, 3)] == [AVAILABLE, END, END]
        assert states[3].error_code != 0 and "it is tried again in 0.1 s" in states[3].error_message
        # ... and the newest is tried again, as often as TensorFlow Serving does.
        watched.manager.start()
        wait_for(lambda: "it was tried 3 times" in watched.manager.states("m")[3].error_message)
        loads = [event for event in watched.of(VersionChanged) if (event.version, event.state) == (3, LOADING)]
        assert len(loads) == 3 and watched.served() == 1


def test_a_failed_load_is_tried_again_until_it_succeeds(base, half_plus_two):
    publish(half_plus_two, base, 1)
    failures = [OSError("the disk is away"), OSError("the disk is still away")]

    def load(*arguments):
        if failures:
            raise failures.pop()
        return load_servable(*arguments)

    with Watched(base, load=load) as watched:
        watched.manager.refresh()
        with pytest.raises(RequestError, match="Servable not found for request: Latest"):
            watched.ask()
        watched.manager.start()
        wait_for(lambda: watched.state(1) == AVAILABLE)
        assert watched.manager.states("m")[1].error_code == 0 and failures == []


def test_without_retries_a_version_is_tried_again_only_when_its_files_change(base, half_plus_two, half_plus_three):
    publish(half_plus_two, base, 1)
    folder = break_version(base, 2)
    with Watched(base, dataclasses.replace(OPTIONS, max_num_load_retries=0)) as watched:
        for _ in range(3):
            watched.manager.refresh()
        assert len([event for event in watched.of(VersionChanged) if event.version == 2]) == 2  # LOADING, END
        shutil.rmtree(folder)
        publish(half_plus_three, base, 2)
        watched.manager.refresh()
        assert watched.ask(4.0) == (2, 5.0)


@pytest.mark.parametrize("file", [WARM_UP_FILE, "batching_params.pbtxt"])
def test_what_fails_by_a_file_beside_the_graph_is_tried_again_when_that_is_mended(base, half_plus_two, file):
    folder = publish(half_plus_two, base, 1)
    options = dataclasses.replace(
        OPTIONS, max_num_load_retries=0, batching=protos.BatchingParameters(), per_model_batching=True
    )
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text("neither records nor parameters")
    with Watched(base, options) as watched:
        watched.manager.refresh()
        assert watched.state(1) == END
        (folder / file).write_text("")
        watched.manager.refresh()
        assert watched.state(1) == AVAILABLE
        (folder / file).write_text("once more")  # what is loaded stays
        watched.events.clear()
        watched.manager.refresh()
        assert watched.events == [] and watched.served() == 1


def test_a_newest_version_that_cannot_be_looked_at_hides_no_other(base, half_plus_two, half_plus_three):
    publish(half_plus_two, base, 1)
    (base / "2").symlink_to(base / "2")
    with Watched(base, dataclasses.replace(OPTIONS, max_num_load_retries=0)) as watched:
        watched.manager.refresh()
        assert watched.ask(4.0) == (1, 4.0) and watched.state(2) == END
        (base / "2").unlink()
        folder = publish(half_plus_three, base, 2)
        watched.manager.refresh()
        assert watched.ask(4.0) == (2, 5.0)
        shutil.move(folder, base / "aside")
        folder.symlink_to(folder)
        watched.manager.refresh()
        assert watched.ask(4.0) == (2, 5.0)


def test_a_version_that_is_copied_in_steps_is_served_once_it_is_whole(base, half_plus_two, half_plus_three):
    publish(half_plus_two, base, 1)
    # No second try by the clock: the copy must be noticed by itself.
    with Watched(base, dataclasses.replace(OPTIONS, load_retry_interval_seconds=3600)) as watched:
        watched.manager.refresh()
        watched.manager.start()
        folder = base / "2"
        folder.mkdir()
        shutil.copy(half_plus_three / "saved_model.pb", folder)
        wait_for(lambda: watched.state(2) == END)
        assert watched.served() == 1
        (folder / "variables").mkdir()
        files = sorted((half_plus_three / "variables").iterdir())
        for file in files:
            seen = len(watched.events)
            shutil.copy(file, folder / "variables")
            wait_for(lambda seen=seen: len(watched.events) > seen)
        wait_for(lambda: watched.served() == 2)
        assert watched.ask(4.0) == (2, 5.0)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(116, "Stale file handle")])
def test_a_look_that_fails_changes_nothing(base, half_plus_two, half_plus_three, monkeypatch, error):
    publish(half_plus_two, base, 1)
    publish(half_plus_three, base, 2)
    with Watched(base) as watched:
        watched.manager.refresh()

        def fail(*_):
            raise error

        for broken in ("look", "identity_of"):  # the listing, then the files of the version that is served
            with monkeypatch.context() as patched:
                patched.setattr(folders, broken, fail)
                watched.manager.refresh()
                watched.manager.refresh()
            assert watched.ask(4.0) == (2, 5.0)
            (failed,) = watched.of(LookFailed)
            assert failed.model == "m" and error.strerror in failed.reason
            watched.events.clear()
            watched.manager.refresh()
        assert watched.events == []  # no version was loaded again


def test_a_base_path_that_vanishes_and_comes_back_changes_nothing(base, half_plus_two):
    publish(half_plus_two, base, 1)
    with Watched(base) as watched:
        watched.manager.refresh()
        os.rename(base, base.with_name("away"))
        watched.manager.refresh()
        assert watched.served() == 1 and len(watched.of(LookFailed)) == 1
        reason = "it cannot be looked at: FileNotFoundError: No such file or directory"
        assert watched.manager.passed_over("m") == [(str(base), reason)]
        os.rename(base.with_name("away"), base)
        watched.manager.refresh()
        assert watched.served() == 1 and watched.manager.passed_over("m") == []


def test_an_error_in_one_look_does_not_end_the_polling(base, half_plus_two, monkeypatch):
    real, failures = folders.look, [ValueError("unforeseen"), ValueError("unforeseen")]

    def fail_first(path):
        if failures:
            raise failures.pop()
        return real(path)

    monkeypatch.setattr(folders, "look", fail_first)
    publish(half_plus_two, base, 1)
    with Watched(base) as watched:
        watched.manager.refresh()
        assert not watched.manager.ready
        watched.manager.start()
        wait_for(lambda: watched.manager.ready)


def test_versions_beyond_int64_and_other_names_are_not_served(base, half_plus_two):
    for name in ("1", str(2**63), str(10**30), "v3"):
        publish(half_plus_two, base, name)
    with Watched(base) as watched:
        watched.manager.refresh()
        assert watched.served() == 1
        passed_over = dict(watched.manager.passed_over("m"))
        assert set(passed_over) == {str(base / name) for name in (str(2**63), str(10**30), "v3")}
        assert {(event.path, event.reason) for event in watched.of(FolderPassedOver)} == set(passed_over.items())
        watched.events.clear()
        watched.manager.refresh()
        assert watched.events == []  # said once
        os.rename(base / "v3", base / "3")
        watched.manager.refresh()
        assert watched.served() == 3 and str(base / "v3") not in dict(watched.manager.passed_over("m"))


def test_a_withdrawn_version_gives_way_to_the_one_before_and_the_last_stays(base, half_plus_two):
    publish(half_plus_two, base, 1)
    publish(half_plus_two, base, 2)
    with Watched(base) as watched:
        watched.manager.refresh()
        os.rename(base / "2", base / ".2")
        watched.manager.refresh()
        assert watched.served() == 1
        os.rename(base / "1", base / ".1")
        watched.manager.refresh()
        assert watched.served() == 1 and watched.state(1) == AVAILABLE


def test_replaced_in_place_the_new_files_answer(base, half_plus_two, half_plus_three):
    publish(half_plus_two, base, 1)
    with Watched(base) as watched:
        watched.manager.refresh()
        os.rename(base / "1", base / ".old")
        publish(half_plus_three, base, 1)
        watched.manager.refresh()
        assert watched.ask(4.0) == (1, 5.0)
        # It never was anything but available, and the second load is told too.
        assert [event.state for event in watched.of(VersionChanged)] == [LOADING, AVAILABLE, AVAILABLE]


def test_replaced_in_place_by_what_does_not_load_the_state_says_which_files_answer(base, half_plus_two):
    folder = publish(half_plus_two, base, 1)
    whole = (folder / "saved_model.pb").read_bytes()
    with Watched(base) as watched:
        watched.manager.refresh()
        (folder / "saved_model.pb").write_bytes(b"not a graph")
        watched.manager.refresh()
        assert watched.ask(4.0) == (1, 4.0)
        state = watched.manager.states("m")[1]
        assert state.state == AVAILABLE and state.error_code != 0
        assert state.error_message.startswith("its files were replaced and do not load, what was loaded before answers")
        (folder / "saved_model.pb").write_bytes(whole)
        watched.manager.refresh()
        assert watched.manager.states("m")[1].error_code == 0


def test_a_lease_keeps_its_servable_open_after_the_version_has_gone(base, half_plus_two, half_plus_three):
    publish(half_plus_two, base, 1)
    with Watched(base) as watched:
        watched.manager.refresh()
        with watched.manager.lease(spec()) as servable:
            publish(half_plus_three, base, 2)
            watched.manager.refresh()
            assert watched.served() == 2 and watched.state(1) == UNLOADING
            assert ask(servable, 4.0) == 4.0
        wait_for(lambda: watched.state(1) == END)


def test_the_new_version_is_loaded_before_the_old_one_goes(base, half_plus_two, half_plus_three):
    publish(half_plus_two, base, 1)
    seen = []

    def load(folder, name, version, options):
        seen.append(watched.served() if version == 2 else None)
        return load_servable(folder, name, version, options)

    with Watched(base, load=load) as watched:
        watched.manager.refresh()
        publish(half_plus_three, base, 2)
        watched.manager.refresh()
        assert seen == [None, 1] and watched.served() == 2


def test_models_load_beside_each_other_and_a_slow_one_holds_nobody_up(base, half_plus_two):
    for name in ("fast", "slow"):
        (base / name).mkdir()
        publish(half_plus_two, base / name, 1)
    release = threading.Event()

    def load(folder, name, version, options):
        assert name != "slow" or release.wait(30)
        return load_servable(folder, name, version, options)

    options = dataclasses.replace(OPTIONS, num_load_threads=2)
    models = {name: ModelSettings(base / name) for name in ("fast", "slow")}
    with Watched(models, options, load=load) as watched:
        watched.manager.start()
        wait_for(lambda: watched.manager.serves("fast"))
        publish(half_plus_two, base / "fast", 2)
        wait_for(lambda: watched.ask(name="fast")[0] == 2)
        assert watched.state(1, "slow") == LOADING and watched.manager.busy and not watched.manager.ready
        release.set()
        wait_for(lambda: watched.manager.ready)
        wait_for(lambda: not watched.manager.busy)


def test_stopping_does_not_wait_for_a_load_and_the_rest_answers_on(base, half_plus_two):
    publish(half_plus_two, base, 1)
    release, began = threading.Event(), threading.Event()

    def load(folder, name, version, options):
        if version == 2:
            began.set()
            assert release.wait(30)
        return load_servable(folder, name, version, options)

    with Watched(base, load=load) as watched:
        watched.manager.refresh()
        watched.manager.start()
        publish(half_plus_two, base, 2)
        assert began.wait(20)
        watched.manager.stop()
        assert watched.manager.busy and watched.served() == 1
        release.set()
        wait_for(lambda: not watched.manager.busy)


@pytest.mark.parametrize(
    ("choice", "code", "words"),
    [
        ({"name": ""}, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ({"name": "other"}, "NOT_FOUND", "Servable not found for request: Latest(other)"),
        ({"version": 9}, "NOT_FOUND", "Servable not found for request: Specific(m, 9)"),
        ({"label": "stable"}, "INVALID_ARGUMENT", "Unrecognized servable version label: stable"),
        ({"name": "other", "label": "stable"}, "INVALID_ARGUMENT", "Unrecognized servable version label: stable"),
    ],
)
def test_requests_for_what_is_not_there(base, half_plus_two, choice, code, words):
    publish(half_plus_two, base, 1)
    with Watched(base) as watched:
        watched.manager.refresh()
        with pytest.raises(RequestError) as error:
            watched.ask(**choice)
        assert (error.value.code.name, error.value.message) == (code, words)
