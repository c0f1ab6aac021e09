"""Findings about the data, as JSON and as a page, and what of them stops the pipeline."""

import collections
import json
from pathlib import Path

import tensorflow as tf

from lts_keras.data.checks import judge
from lts_keras.data.checks.page import render_page
from lts_keras.data.checks.sentences import read_sentences
from lts_keras.data.checks.statistics import AREA_EDGES, MOST_PROBLEMS, NOT_SHOWN, add_up
from lts_keras.data.left_out import REASONS
from lts_keras.data.prepare import records
from lts_keras.data.prepare.folder import data_folder
from lts_keras.data.prepare.plan import TRAIN
from lts_keras.data.schema import DataError
from lts_keras.data.text import build_vocabulary
from lts_keras.utils.files import atomic_write

__all__ = ["PUBLISHED", "make_report", "raise_if_empty", "raise_if_stopped", "read_report", "validate", "write_report"]

PUBLISHED = {
    "refcoco/unc": {
        "train": (42404, 120624),
        "val": (3811, 10834),
        "testA": (1975, 5657),
        "testB": (1810, 5095),
    },
    "refcoco+/unc": {
        "train": (42278, 120191),
        "val": (3805, 10758),
        "testA": (1975, 5726),
        "testB": (1798, 4889),
    },
    "refcocog/umd": {"train": (42226, None), "val": (2573, 4896), "test": (5023, 9602)},
    "refcocog/google": {"train": (44822, None), "val": (5000, None)},
}
"""Refs and expressions of the published data sets, per split; `None` where no count is published."""


def make_report(config, plan, parts):
    """Adds up what was counted and judges it.

    Args:
        config: `Config`.
        plan: `Plan`.
        parts: list of what `Statistics.to_json` gives, one of each shard.

    Returns:
        (report, vocabulary): a dict of plain values, see `read_report`, and the words of the train split.
    """
    total = add_up(parts)
    slices = {name: total["slices"][name] for name in sorted(total["slices"])}
    train_texts = [text for name, one in slices.items() if _split(name) == TRAIN for text in one["texts"]]
    vocabulary = build_vocabulary(train_texts, config.data.vocabulary_min_count)
    sentences = _read_sentences(slices, vocabulary, config.model.max_tokens)
    twice, of_twice = _duplicates(slices)
    problems = plan.problems + total["problems"] + of_twice
    counts = collections.Counter(problem["kind"] for problem in plan.problems) + total["counts"]
    rows = _left_out(plan, total["left_out"])
    kept, left_out = sum(one["refs"] for one in slices.values()), sum(row["count"] for row in rows)
    report = {
        "photos": {
            "total": plan.num_photos,
            "unreadable_photos": counts["unreadable_photos"],
            "size_mismatches": counts["size_mismatches"],
        },
        "objects": {"read": _num_read(plan, kept + left_out), "kept": kept, "left_out": left_out},
        "left_out": rows,
        "slices": {name: _plain(one) for name, one in slices.items()},
        "area_edges": AREA_EDGES,
        "leaks": {"policy": config.data.check.on_leak, "count": len(plan.leaks), "photos": plan.leaks[:200]},
        "duplicate_ref_ids": twice[:MOST_PROBLEMS],
        "published": _published(plan.sources),
        "vocabulary": {"words": len(vocabulary), "min_count": config.data.vocabulary_min_count},
        "max_tokens": config.model.max_tokens,
        "problems": _first_of_each(problems),
        "thresholds": config.data.check.model_dump(),
    }
    findings = judge.find_all(report, counts, problems, sentences, config.data.check)
    warnings = _vocabulary_lines(slices, vocabulary) + judge.warning_lines(findings)
    return report | {"findings": findings, "stops": judge.stop_lines(findings), "warnings": warnings}, vocabulary


def _num_read(plan, counted):
    """Objects of all sources; of drawn ones as many as were counted, since they are not known before."""
    numbers = [source.num_objects for source in plan.sources]
    return counted if None in numbers else sum(numbers)


def _vocabulary_lines(slices, vocabulary):
    if vocabulary:
        return []
    named = any(_split(name) == TRAIN for name in slices)
    return ["the vocabulary is empty: " + ("no word of train is left" if named else "no split is called train")]


def _read_sentences(slices, vocabulary, max_tokens):
    """Dict, slice -> `Sentences`; adds what the report tells of them to the slices."""
    found = {}
    for name, one in slices.items():
        known = vocabulary if vocabulary and _split(name) != TRAIN else None
        found[name] = read_sentences(name, one, max_tokens, known)
        one["too_long_expressions"] = found[name].too_long
        if known:
            one["unknown_words"] = round(found[name].share_unknown, 4)
            one["num_unknown_words"] = found[name].num_unknown
            one["most_unknown_words"] = found[name].most_unknown
    return found


def _left_out(plan, while_reading):
    """Rows of what every source left out, and of what was left out while photos were read."""
    found = [(source.name, source.left_out.rows) for source in plan.sources] + [("", while_reading)]
    return [
        {"source": source, "reason": reason, "meant": REASONS[reason].meant, **row}
        for source, rows in found
        for reason, row in rows.items()
    ]


def _first_of_each(problems):
    """The first problems of every kind, in order."""
    seen, kept = collections.Counter(), []
    for problem in problems:
        seen[problem["kind"]] += 1
        if seen[problem["kind"]] <= MOST_PROBLEMS:
            kept.append(problem)
    return kept


def _plain(one):
    return {key: value for key, value in one.items() if key not in NOT_SHOWN}


def _split(name):
    return name.rpartition("/")[2]


def _duplicates(slices):
    """Ref ids that stand twice in one data set, so that predictions could not be told apart.

    Returns:
        (ids, problems): lists of `"<dataset>: <ref id>"`, and of a problem for each of their objects.
    """
    objects = collections.defaultdict(list)
    for name, one in slices.items():
        for ref_id, photo_id in zip(one["ref_ids"], one["photo_ids"], strict=True):
            objects[name.rpartition("/")[0], ref_id].append((photo_id, name))
    twice = {f"{dataset}: {ref_id}": (ref_id, found) for (dataset, ref_id), found in objects.items() if len(found) > 1}
    problems = [
        {"kind": "duplicate_ref_ids", "message": f"{words}, in {photo_id}", "photo_id": photo_id}
        | {"ref_id": ref_id, "slice": name}
        for words, (ref_id, found) in sorted(twice.items())[:MOST_PROBLEMS]
        for photo_id, name in found
    ]
    return sorted(twice), problems


def _published(sources):
    """Counts of sources whose data set is published, beside the published ones, under the file's own split names."""
    rows = []
    for source in sources:
        for split, (refs, expressions) in PUBLISHED.get(source.published_name, {}).items():
            found_refs, found_expressions = source.counts.get(split, (0, 0))
            rows.append(
                {
                    "source": source.name,
                    "dataset": source.published_name,
                    "split": split,
                    "refs": found_refs,
                    "published_refs": refs,
                    "expressions": found_expressions,
                    "published_expressions": expressions,
                    "equal": found_refs == refs and expressions in (None, found_expressions),
                }
            )
    return rows


def write_report(folder, report, config, plan):
    """Writes `report.json` and the self-contained page `report.html`."""
    atomic_write(Path(folder) / "report.html", render_page(report, config, plan))
    atomic_write(Path(folder) / "report.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")


def read_report(data_dir):
    """Returns the report of prepared data.

    Its keys: `stops` and `warnings` (lines), `findings` (as `judge.find_all` gives them), `thresholds` (as in
    `data.check`), `photos`, `objects` (`read` = `kept` + `left_out`), `left_out` (rows of `source`, empty for what was
    left out while photos were read, `reason`, `count`, `meant`, `first`), `slices` (counts by `<dataset>/<split>`),
    `leaks`, `published`, `duplicate_ref_ids`, `vocabulary`, `problems` (`kind` and `message` of the first of every
    kind).

    Raises:
        DataError: there is none, or it cannot be read.
    """
    path = Path(data_dir) / "check" / "report.json"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(report["stops"], list) or not isinstance(report["warnings"], list):
            raise ValueError("no list of findings")
        return report
    except FileNotFoundError:
        raise DataError(f"{path}: the data was not checked; run `lts prepare` first") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: not a report of checked data; run `lts prepare` again") from error


def raise_if_stopped(report, data_dir):
    """Raises `DataError` with the first finding beyond a threshold, the number of others and the page's path."""
    if report["stops"]:
        more = f" (and {len(report['stops']) - 1} more)" if len(report["stops"]) > 1 else ""
        raise DataError(f"{report['stops'][0]}{more}; see {Path(data_dir) / 'check' / 'report.html'}")


def raise_if_empty(report, data_dir):
    """Raises `DataError` where no object is left for records, with what left out most of them."""
    if not report["objects"]["kept"]:
        found = max(report["left_out"], key=lambda row: row["count"], default={"reason": "none was read", "first": ""})
        why = f"{found['reason']}: {found['first']}"
        page = Path(data_dir) / "check" / "report.html"
        raise DataError(f"data.sources: no photo with a usable object is left; {why}; see {page}")


def validate(config, workdir):
    """Checks prepared data again: every shard's digest, every record's form, and the findings of `prepare`.

    Args:
        config: `Config`; its thresholds decided when the data was prepared.
        workdir: work directory.

    Returns:
        The report.

    Raises:
        DataError: a file is not as it was written, or a finding is beyond its threshold.
    """
    data_dir = data_folder(config, workdir)
    report = read_report(data_dir)
    raise_if_stopped(report, data_dir)
    records.verify_shards(data_dir)
    for path in records.find_shards(data_dir):
        for serialized in records.read_records(path):
            _check_record(serialized, path)
    return report


def _check_record(serialized, path):
    try:
        parsed = records.parse_record(serialized)
        lengths = {len(parsed[name]) for name in ("ref_id", "dataset", "split", "mask_png", "has_mask", "box")}
        # Ragged rows are not validated in the graph of training, where they would cost time at every step.
        whole = lengths == {len(parsed["expressions"].row_lengths())} and int(
            tf.reduce_sum(parsed["expressions"].row_lengths())
        ) == len(parsed["expressions"].values)
    except (tf.errors.InvalidArgumentError, ValueError) as error:
        raise DataError(f"{path}: a record is not of this library's form") from error
    if not whole:
        raise DataError(f"{path}: record {parsed['photo_id'].numpy().decode()} is not whole")
