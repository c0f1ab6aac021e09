"""Tables 1 to 7 of the paper with our runs beside its numbers."""

import dataclasses
import math

from lts_keras.config.read import parse_config
from lts_keras.evaluation.paper_scores import PAPER_TABLES
from lts_keras.evaluation.table_runs import differing_keys, group_runs

__all__ = ["NAMES", "Line", "Sheet", "make_sheets"]

NAMES = {
    "iou": "IoU",
    "mean_iou": "mean_iou",
    "overall_iou": "overall_iou",
    **{f"precision_at_{level}": f"prec@0.{level // 10}" for level in (50, 60, 70, 80, 90)},
}
_DATASETS = {"refcoco": "RefCOCO", "refcoco_plus": "RefCOCO+", "refcocog_umd": "RefCOCOg"}
_OURS = ("mean_iou", "overall_iou")
_PAPER_THRESHOLD = 0.25


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of a table.

    Attributes:
        labels: tuple of str, the row's leading cells.
        source: `"paper"` or `"ours"`, with what ours is.
        metric: str, a key of `NAMES`; `""` where the metrics are the columns.
        cells: tuple: `None`, or `(mean, deviation, smallest, largest)` in percent.
        runs: tuple of str, the metrics.json files.
    """

    labels: tuple
    source: str
    metric: str
    cells: tuple
    runs: tuple = ()


@dataclasses.dataclass(frozen=True)
class Sheet:
    """One table to print.

    Attributes:
        number: int, of the paper's table.
        title: str.
        heads: tuple of str, of labels.
        columns: tuple of str, of cells.
        lines: list of `Line`.
        notes: list of str.
    """

    number: int
    title: str
    heads: tuple
    columns: tuple
    lines: list
    notes: list


def make_sheets(runs, numbers=None):
    """Puts runs beside the paper's numbers.

    Args:
        runs: list of `Run`.
        numbers: the paper's tables that are wanted; `None`: all.

    Returns:
        Tuple `(sheets, notes)`: list of `Sheet`, the paper's tables and, where runs of a table are on other data than
        the paper's, one more for each such data set; list of str about runs that belong to no row.
    """
    sheets, used = [], set()
    for table in PAPER_TABLES:
        if numbers and table.number not in numbers:
            continue
        members = [(row, kind, [run for run in runs if _belongs(run, row, kind)]) for row, kind in _rows(table)]
        used |= {id(run) for _, _, found in members for run in found}
        known = list(dict.fromkeys(dataset for dataset, _ in table.columns))
        others = sorted({name for _, _, found in members for run in found for name in run.scores} - {*_DATASETS})
        sheets.append(_sheet(table, members, known, table.columns, _column_names(table.columns)))
        for dataset in others:
            splits = {split for _, _, found in members for run in found for split in run.scores.get(dataset, ())}
            columns = tuple((dataset, split) for split in _in_order(splits))
            sheets.append(_sheet(table, members, [dataset], columns, tuple(split for _, split in columns), dataset))
    notes = [_homeless(run) for run in runs if id(run) not in used] if not numbers else []
    return sheets, notes


def _homeless(run):
    what = f"model.variant: {run.variant}" if run.variant else "no model.variant in its configuration"
    at = "" if run.judged_size == run.trained_size else f", judged at {run.judged_size}"
    return f"{run.path}: in no row ({what}{at}); --row NAME=WORKDIR puts it into one"


def _rows(table):
    """Rows and what of ours stands in them: in table 6 both trained and judged there, and the one of 416 judged there.

    The 416 row has no second kind: there both are the same.
    """
    for row in table.rows:
        yield row, "trained"
        if row.image_size and "refcoco" not in row.variants:
            yield row, "judged"


def _belongs(run, row, kind):
    if not row.variants or run.coarse != row.coarse:
        return False
    if row.location_loss is not None and run.location_loss != row.location_loss:
        return False
    if kind == "judged":
        # By its size, or put here by name though it was trained at another one (a scaled ablation).
        base = run.model == "refcoco" and run.judged_size == row.image_size
        return run.judged_size != run.trained_size and (base or run.model in row.variants)
    return run.model in row.variants and run.judged_size == run.trained_size


def _sheet(table, members, datasets, columns, names, other=None):
    wide = len(table.metrics) > 1
    lines, notes = [], []
    splits = _in_order({split for _, split in columns}) if wide else [None]
    for split in splits:
        for row, kind, runs in members:
            labels = ((split,) if wide else ()) + row.labels
            if kind == "trained" and not (other and not row.variants):
                lines.append(_paper_line(table, row, labels, split, columns, other))
            ours, said = _our_lines(table, row, kind, runs, labels, split, columns, datasets, other)
            lines += ours
            notes += said
            if row.variants and not ours and not other:
                missing = f"ours{_kind(row, kind)}: not {kind}"
                lines.append(Line(labels, missing, "", (None,) * _width(table, columns)))
    title = f"Table {table.number}. {table.caption}"
    if other:
        title += f": the same rows on other data, {other}; the paper's are on its own"
        if not wide and not {column for _, column in columns} & {column for _, column in table.columns}:
            notes.append(f"the paper has no split of {other}'s names")
    heads = (("Split",) if wide else ()) + table.heads
    cells = tuple(NAMES[name] for name in _metrics(table)) if wide else names
    return Sheet(table.number, title, heads, cells, lines, list(dict.fromkeys(notes)))


def _width(table, columns):
    return len(_metrics(table)) if len(table.metrics) > 1 else len(columns)


def _metrics(table):
    """Columns of a table whose columns are metrics: the paper's IoU, our two, precisions."""
    return ("iou", *_OURS, *table.metrics[1:])


def _paper_line(table, row, labels, split, columns, other):
    """The paper's numbers; beside other data those of the first data set with a split of that name."""
    places = {}
    for place, (dataset, name) in enumerate(table.columns):
        places.setdefault((None, name), place)
        places[dataset, name] = place

    def cell(dataset, name, metric):
        place = places.get((None if other else dataset, name))
        value = None if place is None else row.scores[place][table.metrics.index(metric)]
        return None if value is None else (value, math.nan, value, value)

    source = "paper" if not other else "paper, RefCOCO"
    if len(table.metrics) == 1:
        return Line(labels, source, "iou", tuple(cell(*column, "iou") for column in columns))
    dataset = columns[0][0]
    cells = [None if name in _OURS else cell(dataset, split, name) for name in _metrics(table)]
    return Line(labels, source, "", tuple(cells))


def _our_lines(table, row, kind, runs, labels, split, columns, datasets, other):
    """Lines of groups; groups of several data sets stand in one line where each is the only one of its data set."""
    grouped, notes = {}, []
    for dataset in datasets:
        grouped[dataset], said = group_runs(runs, dataset)
        notes += said
    lines = []
    for place in range(max((len(groups) for groups in grouped.values()), default=0)):
        groups = {dataset: found[place] for dataset, found in grouped.items() if place < len(found)}
        notes += [note for group in groups.values() for note in _differences(group, kind)]
        paths = tuple(dict.fromkeys(str(run.path) for group in groups.values() for run in group.runs))
        source = f"ours{_kind(row, kind)}{_count(groups)}{'' if not other else f', {other}'}"
        if len(table.metrics) > 1:
            (group,) = groups.values()
            cells = tuple(None if name == "iou" else group.summary(split, name) for name in _metrics(table))
            lines += [Line(labels, source, "", cells, paths)] if any(cells) else []
            continue
        for metric in _OURS:
            cells = tuple(groups[name].summary(part, metric) if name in groups else None for name, part in columns)
            lines += [Line(labels, source, metric, cells, paths)] if any(cells) else []
    return lines, notes


def _kind(row, kind):
    if not row.image_size:
        return ""
    return ", trained and judged at it" if kind == "trained" else ", trained at 416, judged at it"


def _count(groups):
    counts = {dataset: len(group.runs) for dataset, group in groups.items()}
    if len(set(counts.values())) == 1:
        return f", n = {next(iter(counts.values()))}"
    return f", n = {', '.join(f'{count} ({_DATASETS.get(name, name)})' for name, count in counts.items())}"


def _differences(group, kind):
    """What a group's runs have otherwise than the paper's row: the model's size, epochs, threshold and so on."""
    run, found = group.runs[0], []
    if run.variant:
        paper = parse_config({"model": {"variant": run.variant}}).model_dump(mode="json")
        # The row itself decides whether it has a location loss.
        paper["train"]["location_weight"] = run.config.get("train", {}).get("location_weight", 0.1)
        given = {name: run.config.get(name, {}) for name in ("model", "train")}
        keys = differing_keys(given, {name: paper[name] for name in given})
        found = [f"{key} {_text(ours)} (paper {_text(theirs)})" for key, (ours, theirs) in keys.items() if ours != []]
    if run.judged_size != run.trained_size and (kind, run.trained_size) != ("judged", 416):
        found.append(f"trained at {run.trained_size}, judged at {run.judged_size}")
    if abs(run.threshold - _PAPER_THRESHOLD) > 1e-9:
        found.append(f"threshold {run.threshold:g} (paper {_PAPER_THRESHOLD:g})")
    if run.presence:
        found.append("may say that nothing is there (the paper's may not)")
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    return [f"{run.path} differs from the paper's row: {', '.join(found[:8])}{more}"] if found else []


def _text(value):
    return "null" if value is None else str(value)


def _column_names(columns):
    return tuple(f"{_DATASETS[dataset]} {split}" for dataset, split in columns)


def _in_order(splits):
    usual = ["val", "testA", "testB", "test"]
    return [split for split in usual if split in splits] + sorted(set(splits) - set(usual))
