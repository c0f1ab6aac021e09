"""Damaged files of every reader: one clear line, or sound data in which no object is missing without a word.

Some hundred examples a reader by default; `pytest --hypothesis-profile=long` runs 2,000 for every kind of file.
"""

import collections
import json

import hypothesis
import numpy as np
import pytest

from lts_keras.data.checks import check
from lts_keras.data.prepare import records
from lts_keras.data.prepare.fingerprints import Fingerprints
from lts_keras.data.prepare.masks import decode_mask
from lts_keras.data.prepare.plan import make_plan
from lts_keras.data.prepare.write import gather
from lts_keras.data.schema import DataError
from tests.lts_keras.data import data_trees
from tests.lts_keras.data.damage import damaged, damaged_bytes
from tests.lts_keras.data.small_documents import FORMS, READERS, WRITERS, write_tree

EXAMPLES = max(100, hypothesis.settings.default.max_examples)


def run(config, root):
    """What `lts prepare` does with the sources; returns (report, records)."""
    written = []
    plan = make_plan(config, Fingerprints(root / "none"))
    parts = [gather(plan.sources, shard, written.append) for shard in plan.shards]
    report, _ = check.make_report(config, plan, [part["statistics"] for part in parts])
    return report, written


def check_line(error):
    line = str(error)
    assert line.isprintable() and line.encode() and len(line) < 600, ascii(line)


def check_records(written, report):
    """Every record can be read, its masks have its size, its boxes are inside."""
    count = 0
    for serialized in written:
        record = records.parse_record(serialized)
        size = int(record["height"]), int(record["width"])
        boxes = record["box"].numpy()
        assert np.isfinite(boxes).all() and (boxes >= 0).all() and (boxes <= [size[1], size[0]] * 2).all()
        assert all(decode_mask(png).shape == size for png in record["mask_png"].numpy() if png)
        assert (record["expressions"].row_lengths().numpy() > 0).all()
        count += len(boxes)
    assert report["objects"]["kept"] == count
    assert report["objects"]["read"] == count + report["objects"]["left_out"]
    json.dumps(report, ensure_ascii=False).encode()


def check_run(config, root, num_objects):
    """Runs one example; `num_objects` is a function that counts them, called where the file was read.

    Returns:
        How it ended: `"refused"`, `"stopped"`, `"some left out"` or `"kept"`.
    """
    try:
        report, written = run(config, root)
    except DataError as error:
        check_line(error)
        assert any(f"/{path.name}" in str(error) for path in root.rglob("*.*")), error
        return "refused"
    check_records(written, report)
    assert report["objects"]["read"] == num_objects()
    for stop in (check.raise_if_stopped, check.raise_if_empty):
        try:
            stop(report, root)
        except DataError as error:
            check_line(error)
            return "stopped"
    return "some left out" if report["objects"]["left_out"] else "kept"


@pytest.mark.parametrize("form", FORMS)
def test_fuzz(form, tmp_path):
    section, files, name, count = FORMS[form]
    write_tree(tmp_path, files)
    kind, config = name.rpartition(".")[2], data_trees.config(tmp_path, section)
    write, ends = WRITERS[kind], collections.Counter()
    # The manifest is a reader of one form, the others have three or four.
    num_examples = EXAMPLES * 3 if form == "manifest" else EXAMPLES

    @hypothesis.settings(max_examples=num_examples, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(document=damaged(files[name]))
    def one_value(document):
        (tmp_path / name).write_bytes(write(document))
        ends[check_run(config, tmp_path, lambda: count(document))] += 1

    @hypothesis.settings(max_examples=num_examples // 4, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(content=damaged_bytes(write(files[name])))
    def bytes_of_the_file(content):
        (tmp_path / name).write_bytes(content)
        ends[check_run(config, tmp_path, lambda: count(READERS[kind](content)))] += 1

    one_value()
    bytes_of_the_file()
    print(form, dict(ends))
    assert min(ends["refused"], ends["kept"]) > num_examples / 20
