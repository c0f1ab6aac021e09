"""Other models, policies and labels while the server runs."""

import dataclasses
import threading

import grpc
import pytest
from google.protobuf import text_format

from serving.core.events import FolderPassedOver
from serving.core.manager import AVAILABLE, END
from serving.core.settings import ModelSettings, settings_from_proto
from serving.errors import RequestError
from serving.wire.protos import ModelServerConfig
from tests.serving.core.model_folders import OPTIONS, Watched, break_version, publish, spec, wait_for


@pytest.fixture
def three(base, half_plus_two):
    """A base path with the versions 1, 2 and 3."""
    for version in (1, 2, 3):
        publish(half_plus_two, base, version)
    return base


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        ({}, [3]),
        ({"num_latest": 2}, [2, 3]),
        ({"num_latest": 9}, [1, 2, 3]),
        ({"num_latest": 0}, [1, 2, 3]),
        ({"specific": (1, 3)}, [1, 3]),
        ({"specific": (1, 7)}, [1]),
    ],
)
def test_version_policies(three, policy, served):
    with Watched({"m": ModelSettings(three, **policy)}) as watched:
        watched.manager.refresh()
        assert [version for version, state in watched.manager.states("m").items() if state.state == AVAILABLE] == served
        assert watched.served() == max(served)
        assert [watched.ask(version=version)[0] for version in served] == served


@pytest.mark.parametrize(
    ("choose", "failed", "expected"),
    [
        (ModelSettings("b"), {3}, [2, 3]),
        (ModelSettings("b"), {3, 2}, [1, 2, 3]),
        (ModelSettings("b"), {1}, [3]),
        (ModelSettings("b", num_latest=2), {3}, [1, 2, 3]),
        (ModelSettings("b", specific=(3,)), {3}, [3]),
        (ModelSettings("b", num_latest=0), {1, 2, 3}, [1, 2, 3]),
    ],
)
def test_the_next_older_version_stands_in_for_a_broken_one_of_the_newest(choose, failed, expected):
    assert choose.choose([3, 1, 2], failed) == expected


def test_a_narrower_policy_drops_the_others_and_a_wider_one_brings_them_back(three):
    with Watched({"m": ModelSettings(three, num_latest=0)}) as watched:
        watched.manager.refresh()
        watched.manager.reload({"m": ModelSettings(three, specific=(2,))})
        assert watched.served() == 2
        wait_for(lambda: [watched.state(version) for version in (1, 2, 3)] == [END, AVAILABLE, END])
        watched.manager.reload({"m": ModelSettings(three, num_latest=2)})
        assert [watched.ask(version=version)[0] for version in (2, 3)] == [2, 3]


def test_versions_that_the_policy_asks_for_and_that_are_not_there_are_named(three):
    with Watched({"m": ModelSettings(three, specific=(2, 7))}) as watched:
        watched.manager.refresh()
        reason = "the version policy asks for it, and there is no such folder"
        assert watched.manager.passed_over("m") == [(str(three / "7"), reason)]
        assert [event.reason for event in watched.of(FolderPassedOver)] == [reason]


def test_a_label_at_the_start_whose_version_is_not_served_is_told(three, caplog):
    with Watched({"m": ModelSettings(three, labels=(("canary", 1), ("stable", 3)))}) as watched:
        watched.manager.refresh()
        assert watched.ask(label="stable")[0] == 3
        assert [record.getMessage() for record in caplog.records if "abel" in record.getMessage()] == [
            "Label canary of m names version 1, which is not served"
        ]


def test_labels_answer_and_are_moved_to_versions_that_are_served(three):
    def labelled(version, **policy):
        return {"m": ModelSettings(three, labels=(("stable", version),), **policy)}

    with Watched(labelled(2, num_latest=2)) as watched:
        watched.manager.refresh()
        assert watched.ask(label="stable")[0] == 2
        watched.manager.reload(labelled(3, num_latest=2))
        assert watched.ask(label="stable")[0] == 3
        for version in (1, 7):  # one that the new policy would load, and one that is not there
            with pytest.raises(RequestError) as error:
                watched.manager.reload(labelled(version, num_latest=3))
            assert error.value.code == grpc.StatusCode.FAILED_PRECONDITION
            assert error.value.message == (
                f"Request to assign label to version {version} of model m, which is not currently available for "
                "inference"
            )
            assert watched.ask(label="stable")[0] == 3  # the old labels and the old policy hold
            assert watched.manager.settings == labelled(3, num_latest=2)
        watched.manager.reload({"m": ModelSettings(three, num_latest=2)})
        with pytest.raises(RequestError, match="Unrecognized servable version label: stable"):
            watched.ask(label="stable")


def test_new_labels_may_come_before_their_version_if_the_option_says_so(three):
    options = dataclasses.replace(OPTIONS, allow_version_labels_for_unavailable_models=True)
    with Watched({"m": ModelSettings(three)}, options) as watched:
        watched.manager.refresh()
        wanted = {"m": ModelSettings(three, num_latest=2, labels=(("canary", 2), ("later", 9)))}
        watched.manager.reload(wanted)
        assert watched.ask(label="canary")[0] == 2
        with pytest.raises(RequestError, match=r"Specific\(m, 9\)"):
            watched.ask(label="later")
        with pytest.raises(RequestError, match="not currently available"):  # moving one would fail its requests
            watched.manager.reload({"m": ModelSettings(three, num_latest=2, labels=(("canary", 8),))})
        watched.manager.reload(wanted)  # what holds already is no move
        assert watched.ask(label="canary")[0] == 2


def test_a_model_that_is_taken_away_goes_and_one_that_comes_is_loaded(three, half_plus_three, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    publish(half_plus_three, other, 5)
    with Watched(three) as watched:
        watched.manager.refresh()
        watched.manager.reload({"n": ModelSettings(other)})
        assert watched.manager.names == ["n"] and watched.ask(4.0, name="n") == (5, 5.0)
        with pytest.raises(RequestError, match=r"Latest\(m\)"):
            watched.ask()
        wait_for(lambda: watched.state(3) == END)
        watched.manager.reload({})
        assert watched.manager.names == [] and not watched.manager.ready


def test_another_base_path_is_loaded_before_the_old_one_goes(three, half_plus_three, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    publish(half_plus_three, other, 1)
    with Watched(three) as watched:
        watched.manager.refresh()
        assert watched.ask(4.0) == (3, 4.0)
        watched.manager.reload({"m": ModelSettings(other)})
        assert watched.ask(4.0) == (1, 5.0)


def test_new_models_that_do_not_load_are_named_and_the_rest_holds(three, base, tmp_path):
    broken, empty = tmp_path / "broken", tmp_path / "empty"
    for folder in (broken, empty):
        folder.mkdir()
    break_version(broken, 4)
    with Watched(three) as watched:
        watched.manager.refresh()
        wanted = {"m": ModelSettings(three), "broken": ModelSettings(broken), "empty": ModelSettings(empty)}
        with pytest.raises(RequestError) as error:
            watched.manager.reload(wanted)
        assert error.value.code == grpc.StatusCode.UNKNOWN
        assert error.value.message.startswith("2 model(s) did not become available: {{name: broken version: 4 due to")
        assert f"{empty}: it holds no version" in error.value.message
        assert watched.served() == 3 and watched.manager.names == ["broken", "empty", "m"]


def test_requests_between_two_settings_are_answered_or_not_found(three):
    """Two reloads follow each other without a pause; whoever asks meanwhile must meet one of them, whole."""
    with Watched(three) as watched:
        watched.manager.refresh()
        codes, stop = set(), threading.Event()

        def run():
            while not stop.is_set():
                for choice in ({"label": "stable"}, {}, {"name": "n"}):
                    try:
                        watched.ask(**choice)
                    except RequestError as error:
                        codes.add((choice.get("name", "m"), error.code))
                    except Exception as error:
                        codes.add(error)

        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(8):
            watched.manager.reload({"m": ModelSettings(three, labels=(("stable", 3),))})
            watched.manager.reload({"m": ModelSettings(three), "n": ModelSettings(three)})
        stop.set()
        for thread in threads:
            thread.join()
    unknown_label, not_found = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
    assert codes <= {("m", unknown_label), ("n", not_found)}


TWICE = "config { name: 'm' base_path: '/tmp' }"


def read(text):
    return settings_from_proto(text_format.Parse(text, ModelServerConfig()))


def test_settings_from_a_config_file(tmp_path):
    entry = f'config {{ name: "%s" base_path: "{tmp_path}" model_platform: "tensorflow" %s }}'
    policies = (
        'version_labels { key: "b" value: 2 } version_labels { key: "a" value: 1 }',
        "model_version_policy { latest { num_versions: 3 } }",
        "model_version_policy { latest { } }",
        "model_version_policy { all { } }",
        "model_version_policy { specific { versions: 4 versions: 2 } }",
    )
    entries = " ".join(entry % (f"m{number}", policy) for number, policy in enumerate(policies))
    assert read(f"model_config_list {{ {entries} }}") == {
        "m0": ModelSettings(tmp_path, labels=(("a", 1), ("b", 2))),
        "m1": ModelSettings(tmp_path, num_latest=3),
        "m2": ModelSettings(tmp_path),
        "m3": ModelSettings(tmp_path, num_latest=0),
        "m4": ModelSettings(tmp_path, specific=(4, 2)),
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Only ModelConfigList is currently supported"),
        ("model_config_list { config { name: 'm' } }", "a model needs a name and a base_path"),
        ("model_config_list { config { name: 'm' base_path: '/nowhere' } }", "Could not find base path /nowhere"),
        ("model_config_list { config { name: 'm' base_path: '/tmp' model_platform: 'x' } }", "must be 'tensorflow'"),
        (f"model_config_list {{ {2 * TWICE} }}", "Illegal to list model m multiple times"),
    ],
)
def test_configs_that_cannot_be_served(text, words):
    with pytest.raises(RequestError) as error:
        read(text)
    assert error.value.code == grpc.StatusCode.INVALID_ARGUMENT and words in error.value.message


def test_a_label_of_a_model_that_is_gone_is_no_internal_error(three):
    with Watched({"m": ModelSettings(three, labels=(("stable", 3),))}) as watched:
        watched.manager.refresh()
        with watched.manager.lease(spec(label="stable")) as servable:
            assert servable.version == 3
        watched.manager.reload({})
        with pytest.raises(RequestError, match="Unrecognized servable version label"):
            watched.ask(label="stable")
