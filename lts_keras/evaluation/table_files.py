"""The tables as Markdown, CSV and a page, by the ending of the file."""

import csv
import html
import io
import math
from pathlib import Path

from lts_keras.config.errors import ConfigError
from lts_keras.evaluation.tables import NAMES

__all__ = ["check_ending", "render_tables"]

_INTRODUCTION = (
    "In percent. Lines marked paper are Jing et al., CVPR 2021, as printed; lines marked ours were measured with "
    "`lts evaluate`.",
    "The paper's IoU is ambiguous (mean over expressions, or total over all pixels), so ours are given as both: "
    "mean_iou and overall_iou.",
    "Several runs that differ in the seed alone are one line: mean ± sample standard deviation (smallest to largest), "
    "n runs.",
)


def check_ending(path):
    """Raises `ConfigError` unless a file of this name can be written."""
    if Path(path).suffix not in _WRITERS:
        raise ConfigError(f"--output {path}: the name must end in {', '.join(_WRITERS)}")


def render_tables(sheets, notes, ending):
    """The text of a file.

    Args:
        sheets: list of `Sheet`.
        notes: list of str, below all of them.
        ending: `".md"`, `".csv"` or `".html"`.

    Returns:
        str. The CSV has one line a value.
    """
    return _WRITERS[ending](sheets, notes)


def _markdown(sheets, notes):
    lines = ["# The paper's tables, and ours", "", *(f"{line}\n" for line in _INTRODUCTION)]
    for sheet in sheets:
        heads, rows = _grid(sheet)
        lines += [f"## {sheet.title}", "", _row(heads)]
        left = len(heads) - len(sheet.columns)
        lines += [f"|{'|'.join(['---'] * left + ['--:'] * len(sheet.columns))}|"]
        lines += [_row(row) for row in rows]
        lines += ["", *(f"- {_safe(note)}" for note in sheet.notes), *([""] if sheet.notes else [])]
    if notes:
        lines += ["## Runs of no row", "", *(f"- {_safe(note)}" for note in notes), ""]
    return "\n".join(lines)


def _safe(text):
    """Text that Markdown leaves as it is."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ").replace("*", "\\*").replace("_", "\\_")


def _row(cells):
    return f"| {' | '.join(_safe(cell) for cell in cells)} |"


def _page(sheets, notes):
    parts = [f"<p>{html.escape(line).replace('`', '')}</p>" for line in _INTRODUCTION]
    for sheet in sheets:
        heads, rows = _grid(sheet)
        left = len(heads) - len(sheet.columns)
        parts.append(f"<h2>{html.escape(sheet.title)}</h2><div class=scroll><table><thead>")
        parts.append(_html_row(heads, "th", left) + "</thead><tbody>")
        for row, line in zip(rows, sheet.lines, strict=True):
            kind = "paper" if line.source.startswith("paper") else "ours" if line.runs else "none"
            parts.append(_html_row(row, "td", left, kind))
        parts.append("</tbody></table></div>")
        if sheet.notes:
            parts.append(f"<ul>{''.join(f'<li>{html.escape(note)}</li>' for note in sheet.notes)}</ul>")
    if notes:
        parts.append(f"<h2>Runs of no row</h2><ul>{''.join(f'<li>{html.escape(note)}</li>' for note in notes)}</ul>")
    style = (Path(__file__).parents[1] / "templates" / "page_style.html").read_text(encoding="utf-8")
    own = (
        "<style>tr.ours td { font-weight: 600; } tr.none td { color: var(--muted); } td.text, th.text "
        "{ text-align: left; white-space: nowrap; } td { white-space: nowrap; } li { font-size: 13px; }</style>"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>The paper's tables, and ours</title>{style}{own}</head><body>"
        f"<h1>The paper's tables, and ours</h1>{''.join(parts)}</body></html>\n"
    )


def _html_row(cells, tag, left, kind=""):
    texts = [
        f"<{tag}{' class=text' if place < left else ''}>{html.escape(cell)}</{tag}>" for place, cell in enumerate(cells)
    ]
    return f"<tr{f' class={kind}' if kind else ''}>{''.join(texts)}</tr>"


def _grid(sheet):
    """Heads and rows of text."""
    with_metric = any(line.metric for line in sheet.lines)
    heads = [*sheet.heads, "Source", *(["Metric"] if with_metric else []), *sheet.columns]
    rows = [
        [
            *line.labels,
            line.source,
            *([NAMES.get(line.metric, "")] if with_metric else []),
            *(_cell(cell) for cell in line.cells),
        ]
        for line in sheet.lines
    ]
    return heads, rows


def _cell(cell):
    if cell is None:
        return "-"
    mean, deviation, low, high = cell
    return f"{mean:.2f}" if math.isnan(deviation) else f"{mean:.2f} ± {deviation:.2f} ({low:.2f} to {high:.2f})"


def _csv(sheets, notes):
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("table", "row", "source", "column", "metric", "value", "deviation", "smallest", "largest", "runs"))
    for sheet in sheets:
        for line in sheet.lines:
            for name, cell in zip(sheet.columns, line.cells, strict=True):
                if cell is None:
                    continue
                labels = " / ".join(f"{head}: {label}" for head, label in zip(sheet.heads, line.labels, strict=True))
                column, metric = (name, NAMES[line.metric]) if line.metric else (line.labels[0], name)
                numbers = ["" if math.isnan(value) else f"{value:.4f}" for value in cell]
                writer.writerow((sheet.number, labels, line.source, column, metric, *numbers, " ".join(line.runs)))
    return file.getvalue()


_WRITERS = {".md": _markdown, ".csv": _csv, ".html": _page}
