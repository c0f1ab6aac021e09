import json

import pytest

from lts_keras.config.schema import Config
from pipelines import push, register, versions
from pipelines.stages import StageError


@pytest.fixture
def workdir(tmp_path):
    """A work directory whose model `m1` is blessed and exported as `e1`."""
    files = {
        "evaluate/metrics.json": {"slices": {"scenes/val": {}}},
        "bless/decision.json": {"decision": "BLESSED", "model": "m1"},
        "export/saved_model/saved_model.pb": "graph",
        "stages/ingest.json": {"result": "d1"},
        "stages/train.json": {"result": "m1"},
        "stages/export.json": {"result": "e1"},
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    return tmp_path


def pushed(workdir):
    push.run(Config(), workdir, workdir / "serving")
    return json.loads((workdir / "push/version.json").read_text())["version"]


def test_an_export_is_published_once_and_says_what_it_is(workdir):
    assert pushed(workdir) == pushed(workdir) == 1
    lineage = versions.lineage_of(workdir / "serving", 1)
    assert (lineage["data"], lineage["model"], lineage["exported"]) == ("d1", "m1", "e1")


def test_a_new_export_is_a_new_version(workdir):
    pushed(workdir)
    (workdir / "stages/export.json").write_text('{"result": "e2"}')
    assert pushed(workdir) == 2


def test_a_run_with_nothing_new_does_not_undo_a_rollback(workdir):
    pushed(workdir)
    (workdir / "stages/export.json").write_text('{"result": "e2"}')
    pushed(workdir)
    assert versions.rollback(workdir / "serving") == (3, 1)
    assert pushed(workdir) == 2
    assert versions.served(workdir / "serving")[0] == 3


@pytest.mark.parametrize(
    "decision", [{"decision": "NOT_BLESSED", "model": "m1"}, {"decision": "BLESSED", "model": "m0"}]
)
def test_only_the_blessed_model_is_published(workdir, decision):
    (workdir / "bless/decision.json").write_text(json.dumps(decision))
    with pytest.raises(StageError, match="model m1 is not blessed"):
        push.run(Config(), workdir, workdir / "serving")
    assert not (workdir / "serving").exists()


def test_lineage_leads_from_the_data_to_the_version(workdir):
    pushed(workdir)
    path = workdir / "evaluate" / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"threshold": 0.3, "presence": {"threshold": 0.7}}))
    register.run(Config(name="mine"), workdir, "run-1")
    lineage = json.loads((workdir / "lineage/run-1.json").read_text())
    assert (lineage["data"], lineage["config"]["name"], lineage["model"], lineage["version"]) == ("d1", "mine", "m1", 1)
    assert lineage["threshold"] == 0.3 and lineage["presence"]["threshold"] == 0.7
