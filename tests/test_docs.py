"""The Python of docs/training.md runs as it stands there."""

import re

import pytest

from tests.conftest import ROOT

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "training.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_python_of_the_page_runs(number):
    exec(compile(BLOCKS[number], f"docs/training.md, block {number + 1}", "exec"), {})


def test_the_page_has_its_examples():
    assert len(BLOCKS) == 2
