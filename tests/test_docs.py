"""The Python of the pages runs as it stands there."""

import re

import pytest

from tests.conftest import ROOT, run_python


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", range(len(blocks("training.md"))))
def test_python_of_the_training_page_runs(number):
    exec(compile(blocks("training.md")[number], f"docs/training.md, block {number + 1}", "exec"), {})


def test_the_training_page_has_its_examples():
    assert len(blocks("training.md")) == 2


@pytest.mark.slow
def test_python_of_the_page_on_customising_runs_from_top_to_bottom(tmp_path):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    page = "\n".join(blocks("customise.md"))
    done = run_python("-c", page, cwd=tmp_path)
    assert done.returncode == 0, f"{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
    lines = done.stdout.splitlines()
    assert "Student" in lines and any("scenes/val" in line for line in lines)
    assert (tmp_path / "runs/customise/train/log.csv").is_file()
