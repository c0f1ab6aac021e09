import pytest

from lts_keras.config.read import parse_config
from lts_keras.utils.workdir import BusyError, lock
from pipelines.runner import RunError, run_pipeline

UNREADABLE = {"data": {"sources": [{"kind": "manifest", "name": "mine", "file": "nowhere.jsonl"}]}}


def test_a_failed_stage_is_named_with_its_reason_and_the_log_has_the_rest(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("LTS_PIPELINE_ALIVE", "")
    with pytest.raises(RunError, match=r"^ingest: .*nowhere\.jsonl.*full log: .*log\.txt") as error:
        run_pipeline(parse_config(UNREADABLE), tmp_path / "work")
    assert error.value.exit_code == 2
    (run_folder,) = (tmp_path / "work/runs").iterdir()
    assert sorted(path.name for path in run_folder.iterdir()) == ["alive", "log.txt"], "no scratch is left"
    assert "Traceback" in (run_folder / "log.txt").read_text()


def test_a_folder_in_use_is_refused_before_anything_is_done(tmp_path):
    with lock(tmp_path / ".pipeline.lock"), pytest.raises(BusyError):
        run_pipeline(parse_config({}), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".pipeline.lock"]
