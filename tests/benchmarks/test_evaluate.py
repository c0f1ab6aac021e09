import json

import pytest

from tests.conftest import run_python


@pytest.mark.slow
def test_a_small_evaluation_is_measured_on_made_up_photos(tmp_path, shared_data):
    words = ["--workdir", tmp_path / "work", "--sentences", "40", "--json", tmp_path / "r.json"]
    done = run_python("benchmarks/evaluate.py", *words)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((tmp_path / "r.json").read_text())
    for name in ("overhead", "model"):
        assert found[name]["sentences"] == 40 and found[name]["processor_ms"] > 0
        assert 0.2 < found[name]["peak_gib"] < 1.5
        rows = json.loads((tmp_path / "work" / f"{name}_predictions.json").read_text())
        # Some objects have a box alone, the others a mask.
        assert len(rows) == 40 and {row["iou"] is None for row in rows} == {True, False}
    other = run_python("benchmarks/evaluate.py", "--workdir", tmp_path / "work", "--sentences", "41")
    assert other.returncode != 0 and "has 40 sentences. Received: --sentences 41" in other.stderr
