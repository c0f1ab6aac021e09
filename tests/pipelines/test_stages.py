import json
import types

import pytest

from lts_keras.config.schema import Config
from lts_keras.data.schema import DataError
from pipelines import stages


class Stage(types.ModuleType):
    """A stage that counts its runs: what a run of the real ones would take minutes to show."""

    SECTIONS = ("model",)
    OUTPUTS = ("out.txt", "folder")

    def __init__(self, error=None):
        super().__init__("stage")
        self.runs, self.error = 0, error

    def run(self, config, workdir, word="x"):
        self.runs += 1
        if self.error:
            raise self.error
        (workdir / "out.txt").write_text(word)
        (workdir / "folder").mkdir(exist_ok=True)
        (workdir / "folder" / "part").write_text(word)
        return "made"


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Calls a stage under the name `train`, in one work directory."""

    def call(stage, config=None, inputs=None, **settings):
        with monkeypatch.context() as patch:
            patch.setitem(stages.sys.modules, "pipelines.train", stage)
            return stages.run_stage("train", (config or Config()).model_dump_json(), tmp_path, inputs, **settings)

    return call


def test_the_same_inputs_are_passed_over_and_others_are_not(call, capsys):
    stage = Stage()
    first = call(stage)
    assert call(stage) == first and stage.runs == 1
    assert "[train] same inputs as on" in capsys.readouterr().out
    call(stage, Config(train={"epochs": 3}))
    assert stage.runs == 1, "a section that the stage does not read"
    call(stage, Config(model={"image_size": 64}))
    assert stage.runs == 2


@pytest.mark.parametrize("damage", ["out.txt", "folder/part", "stages/train.json"])
def test_a_result_or_stamp_that_was_changed_is_made_again(call, tmp_path, damage):
    stage = Stage()
    first = call(stage)
    (tmp_path / damage).write_text("cut")
    assert call(stage) == first and stage.runs == 2


def test_a_stage_without_sections_runs_every_time(call):
    stage = Stage()
    stage.SECTIONS = None
    call(stage)
    call(stage)
    assert stage.runs == 2


def test_other_code_runs_again(call, monkeypatch):
    stage = Stage()
    call(stage)
    monkeypatch.setattr(stages, "code_version", lambda: "2")
    call(stage)
    assert stage.runs == 2


def test_a_result_of_another_run_is_refused(call, tmp_path, capsys):
    stages.atomic_write(stages.stamp_path("ingest", tmp_path), json.dumps({"result": "theirs"}))
    with pytest.raises(SystemExit):
        call(Stage(), inputs={"ingest": "ours"})
    assert "another run has worked there" in capsys.readouterr().out
    call(Stage(), inputs={"ingest": "theirs"})


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DataError("photos.json: cut short"), 2, "photos.json: cut short"),
        (stages.StageError("NOT_BLESSED: too low"), 1, "NOT_BLESSED: too low"),
        (KeyError("surprise"), 1, "KeyError: 'surprise'"),
    ],
)
def test_a_failure_is_one_line_a_code_and_no_stamp(call, tmp_path, capsys, error, code, message):
    with pytest.raises(SystemExit) as end:
        call(Stage(error))
    assert end.value.code == code
    assert capsys.readouterr().out.splitlines()[-1] == f"[train] failed: {message}"
    assert stages.failure_of(tmp_path) == ("train", code, message)
    assert not stages.stamp_path("train", tmp_path).exists()
    call(Stage())
    assert stages.failure_of(tmp_path) is None


def test_a_stage_that_leaves_no_result_has_failed(call, capsys):
    stage = Stage()
    stage.OUTPUTS = ("nothing.json",)
    with pytest.raises(SystemExit):
        call(stage)
    assert "ended without nothing.json" in capsys.readouterr().out
