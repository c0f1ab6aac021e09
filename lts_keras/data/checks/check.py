"""Findings about the data, as JSON and as a page, and what of them stops the pipeline."""

import collections
import json
from pathlib import Path

import tensorflow as tf

from lts_keras.data.checks.page import render_page
from lts_keras.data.checks.statistics import AREA_EDGES, add_up
from lts_keras.data.prepare import records
from lts_keras.data.prepare.plan import TRAIN
from lts_keras.data.schema import DataError
from lts_keras.data.text import build_vocabulary, split_words, unknown_rate
from lts_keras.utils.files import atomic_write

__all__ = ["PUBLISHED", "make_report", "raise_if_stopped", "read_report", "validate", "write_report"]

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
_BATCH = 8192


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
    counts = collections.Counter(problem["kind"] for problem in plan.problems) + total["counts"]
    slices = total["slices"]
    train_texts = [text for name, one in slices.items() if _split(name) == TRAIN for text in one["texts"]]
    vocabulary = build_vocabulary(train_texts, config.data.vocabulary_min_count)
    for name, one in slices.items():
        one["too_long_expressions"] = _count_longer(one["texts"], config.model.max_tokens)
        if vocabulary and _split(name) != TRAIN:
            one["unknown_words"] = round(unknown_rate(one["texts"], vocabulary), 4)
    report = {
        "photos": {
            "total": plan.num_photos,
            "unreadable_photos": counts["unreadable_photos"],
            "size_mismatches": counts["size_mismatches"],
        },
        "slices": {name: _plain(slices[name]) for name in sorted(slices)},
        "area_edges": AREA_EDGES,
        "leaks": {"policy": config.data.check.on_leak, "count": len(plan.leaks), "photos": plan.leaks[:200]},
        "duplicate_ref_ids": _duplicates(slices),
        "published": _published(plan.sources),
        "vocabulary": {"words": len(vocabulary), "min_count": config.data.vocabulary_min_count},
        "max_tokens": config.model.max_tokens,
        "problems": (plan.problems + total["problems"])[:500],
    }
    report["thresholds"] = config.data.check.model_dump()
    report["stops"] = _stops(report, config.data.check)
    report["warnings"] = _warnings(report)
    return report, vocabulary


def _plain(one):
    return {key: value for key, value in one.items() if key not in ("texts", "ref_ids")}


def _split(name):
    return name.rpartition("/")[2]


def _count_longer(texts, max_tokens):
    longer = 0
    for start in range(0, len(texts), _BATCH):
        lengths = split_words(tf.constant(texts[start : start + _BATCH], tf.string)).row_lengths()
        longer += int(tf.reduce_sum(tf.cast(lengths > max_tokens, tf.int32)))
    return longer


def _duplicates(slices):
    """Ref ids that stand twice in one data set: predictions could not be told apart."""
    seen = collections.Counter()
    for name, one in slices.items():
        dataset = name.rpartition("/")[0]
        seen.update((dataset, ref_id) for ref_id in one["ref_ids"])
    return [f"{dataset}: {ref_id}" for (dataset, ref_id), count in sorted(seen.items()) if count > 1][:50]


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


def _stops(report, limits):
    """One line for every finding beyond its threshold."""
    photos, lines = report["photos"], []
    for kind, limit in (
        ("unreadable_photos", limits.max_unreadable_photos),
        ("size_mismatches", limits.max_size_mismatches),
    ):
        if photos[kind] > limit * photos["total"]:
            lines.append(_beyond(kind, photos[kind], photos["total"], limit, report))
    for name, one in report["slices"].items():
        all_refs = one["refs"] + one["empty_masks"]
        for kind, limit in (
            ("empty_masks", limits.max_empty_masks),
            ("box_disagreements", limits.max_box_disagreements),
        ):
            if one[kind] > limit * all_refs:
                lines.append(f"{name}: {_beyond(kind, one[kind], all_refs, limit, report)}")
        if one.get("unknown_words", 0) > limits.max_unknown_words:
            share, limit = one["unknown_words"], limits.max_unknown_words
            lines.append(f"{name}: {share:.1%} of the words are not in train (data.check.max_unknown_words: {limit:g})")
    if report["leaks"]["count"] and limits.on_leak == "stop":
        lines.append(f"{_leak(report)} (data.check.on_leak: stop)")
    if report["duplicate_ref_ids"]:
        lines.append(f"a ref id stands twice in one data set: {report['duplicate_ref_ids'][0]}")
    if limits.published_counts:
        lines += [_unequal(row) for row in report["published"] if not row["equal"]]
    return lines


def _beyond(kind, count, total, limit, report):
    first = next((item["message"] for item in report["problems"] if item["kind"] == kind), "")
    words = kind.replace("_", " ")
    return f"{words}: {count} of {total}, more than data.check.max_{kind}: {limit:g}; first: {first}"


def _leak(report):
    leaks = report["leaks"]
    first = leaks["photos"][0]
    same = "" if first["same_as"] == first["photo_id"] else f" (as {first['same_as']}, by {first['by']})"
    many = "1 photo of train stands" if leaks["count"] == 1 else f"{leaks['count']} photos of train stand"
    return f"{many} in a held-out split too; first: {first['photo_id']}{same}"


def _unequal(row):
    """Words for counts that are not the published ones."""
    return (
        f"{row['source']}: split {row['split']} of {row['dataset']} has {row['refs']} refs and {row['expressions']} "
        f"expressions; published are {row['published_refs']} and {row['published_expressions'] or 'unknown'}"
    )


def _warnings(report):
    """One line for findings that do not stop but should be seen."""
    lines = []
    if report["leaks"]["count"] and report["leaks"]["policy"] != "stop":
        done = "their train refs are left out" if report["leaks"]["policy"] == "drop" else "reported alone"
        lines.append(f"{_leak(report)}; {done}")
    if not report["vocabulary"]["words"]:
        lines.append("no split is called train: the vocabulary is empty")
    for kind in ("empty_masks", "box_disagreements", "boxes_outside", "empty_expressions", "too_long_expressions"):
        found = sum(one[kind] for one in report["slices"].values())
        if found:
            lines.append(f"{kind.replace('_', ' ')}: {found}")
    return lines


def write_report(folder, report, config, plan):
    """Writes `report.json` and the self-contained page `report.html`."""
    atomic_write(Path(folder) / "report.html", render_page(report, config, plan))
    atomic_write(Path(folder) / "report.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")


def read_report(data_dir):
    """Returns the report of prepared data.

    Its keys: `stops` and `warnings` (lines), `thresholds` (as in `data.check`), `photos`, `slices` (counts by
    `<dataset>/<split>`), `leaks`, `published`, `duplicate_ref_ids`, `vocabulary`, `problems` (`kind` and `message` of
    the first of every kind).

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
    data_dir = Path(workdir) / "data"
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
