"""The page of one evaluation: scores, parts, curves and answers in pictures, in one file of bounded size."""

import collections
import json
import re

import markupsafe

from lts_keras.data.checks.page import render_template
from lts_keras.evaluation import page_data
from lts_keras.evaluation.charts import bar_chart, line_chart
from lts_keras.evaluation.page_pictures import draw_answer, draw_prior, draw_truth, embed, read_photos, shrink
from lts_keras.evaluation.printed import GRES_METRICS, METRICS
from lts_keras.evaluation.whose import FOUND

__all__ = ["draw_cards", "render_report", "shorten", "text_bytes"]

MOST_BYTES = 100_000
"""Of the page without its pictures."""
_DETAILS = ((12, 8), (12, 4), (8, 3), (4, 3), (0, 3), (4, 2), (0, 1))
"""Classes and slices that are shown in full: fewer, until the page is small enough."""
_MOST_SLICES = 40
_TRIVIAL = {
    "whole_image": "the whole photo",
    "centered_box": "best centred box",
    "left_right_rule": "left/right/top/bottom rule",
}
_KINDS = {"best": "The best", "median": "Around the median", "worst": "The worst", "drawn": "Drawn by chance"}
_PART_METRICS = ("mean_iou", "overall_iou", "precision_at_50", "localization_accuracy")


def draw_cards(rows, count, seed, data_dir, predictor=None):
    """Chooses answers and draws each: photo, prior, mask, truth.

    Args:
        rows: list of dicts of predictions.json.
        count: int, answers in all.
        seed: int, of the choice.
        data_dir: folder of the prepared data.
        predictor: `Predictor` for the priors; left out if `None`.

    Returns:
        dict, kind -> list of `(row, [(title, data URI)])`; without pictures where a photo is not in the data.
    """
    chosen = page_data.choose(rows, count, seed)
    wanted = [row for group in chosen.values() for row in group]
    drawn = {}
    for number, photo, truth in read_photos(wanted, data_dir) if wanted else ():
        row, titled = wanted[number], [("photo", shrink(photo))]
        if predictor:
            # From the pixels: the file's own EXIF orientation need not be the one that the record's masks lie in.
            prior = predictor(photo, row["expression"]).prior
            titled.append(("prior", draw_prior(photo, prior, row["point"])))
        titled += [("mask", draw_answer(photo, row)), ("truth", draw_truth(photo, truth))]
        drawn[id(row)] = [(title, embed(picture)) for title, picture in titled]
    return {kind: [(row, drawn.get(id(row), [])) for row in group] for kind, group in chosen.items()}


def render_report(name, evaluation, cards, history):
    """Renders the page.

    Args:
        name: str, its heading.
        evaluation: `StoredEvaluation`.
        cards: what `draw_cards` gives.
        history: dict of the training's history.json, or `{}`.

    Returns:
        HTML text of at most 100 kB beside the pictures, without any reference to another file.
    """
    for classes, sections in _DETAILS:
        page = _render(name, evaluation, cards, history, classes, sections)
        if text_bytes(page) <= MOST_BYTES:
            break
    return page


def text_bytes(page):
    """Bytes of a page without the pictures embedded in it."""
    return len(re.sub(r'src="data:[^"]*"', "", page).encode())


def shorten(text, most=160):
    """Text of at most so many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _render(name, evaluation, cards, history, classes, sections):
    metrics, rows = evaluation.metrics, evaluation.rows
    names = sorted(metrics["slices"], key=lambda one: -metrics["slices"][one]["num_expressions"])
    table, of_row = _filter(rows, classes, sections)
    table["least"] = evaluation.settings.get("min_slice_size", 1)
    return render_template(
        "report.html",
        name=name,
        metrics=metrics,
        columns=METRICS,
        gres_columns=GRES_METRICS,
        slices={one: metrics["slices"][one] for one in sorted(names[:_MOST_SLICES])},
        num_left=max(0, len(names) - _MOST_SLICES),
        with_no_target=[one for one in sorted(names[:_MOST_SLICES]) if "giou" in metrics["slices"][one]],
        curves=[line_chart(title, lines, "epoch") for title, lines in page_data.curves(history).items()],
        sections=[_section(one, evaluation, classes) for one in sorted(names[:sections])],
        sections_left=max(0, len(names) - sections),
        part_columns={metric: METRICS[metric] for metric in _PART_METRICS},
        groups=[
            (_KINDS[kind], [_card(row, shown, of_row.get(id(row), []), table["slices"]) for row, shown in group])
            for kind, group in cards.items()
        ],
        # A "<" could end the script that holds the table.
        filter=markupsafe.Markup(json.dumps(table, separators=(",", ":")).replace("<", "\\u003c")),
        dimensions=table["dimensions"],
    )


def _filter(rows, classes, sections):
    """The filter's table of the largest slices, and id of each row in it -> the numbers of its values."""
    counts = collections.Counter(map(page_data.slice_name, rows))
    largest = {name for name, _ in counts.most_common(sections)}
    there = [row for row in rows if page_data.slice_name(row) in largest]
    table, members = page_data.filter_table(there, classes)
    table["all"] = "all" if len(counts) <= len(largest) else "all of these"
    return table, dict(zip(map(id, there), members, strict=True))


def _section(name, evaluation, classes):
    """Everything of one slice."""
    metrics, groups = evaluation.metrics, evaluation.settings.get("groups", {})
    rows = [
        row for row in evaluation.rows if name == page_data.slice_name(row) or row["dataset"] in groups.get(name, ())
    ]
    sweep, threshold = metrics["sweep"].get(name), metrics["threshold"]
    lines = (
        {}
        if not sweep
        else {
            METRICS[one]: list(zip(sweep["thresholds"], sweep[one], strict=True))
            for one in ("mean_iou", "overall_iou", "precision_at_50")
        }
    )
    reliability = [
        {
            "label": f"{100 * one['low']:.0f}",
            "note": str(one["count"]),
            "value": one["right"],
        }
        for one in metrics["reliability"].get(name) or []
    ]
    charts = [
        line_chart(
            "Scores by threshold of the mask", lines, "threshold", (threshold, f"in use: {threshold:.2f}"), (0, 1)
        ),
        bar_chart(
            "How often presence is right (count below)",
            reliability,
            "presence (%), lower end of ten bins",
            1,
            diagonal=True,
        ),
        bar_chart("Mean IoU by the object's share of the photo", page_data.iou_by_area(rows), "share of the photo", 1),
        bar_chart("Expressions by IoU", page_data.iou_histogram(rows), "IoU"),
    ]
    coarse = metrics.get("coarse", {}).get("slices", {}).get(name)
    return {
        "name": name,
        "scores": metrics["slices"][name],
        "answers": [
            ("refiner" if coarse else "LTS", _cells(metrics["slices"][name])),
            *([("the coarse masks alone", _cells(coarse))] if coarse else []),
            *((_TRIVIAL.get(one, one), _cells(values)) for one, values in metrics["trivial"].get(name, {}).items()),
        ],
        "charts": [chart for chart in charts if chart],
        "found": page_data.count_found(rows, FOUND),
        "parts": _parts(metrics["parts"].get(name, {}), classes),
    }


def _parts(parts, classes):
    """List of `(dimension, [(value, values)], how many are left out)`: of the classes the commonest."""
    shown = []
    for dimension, values in parts.items():
        kept = list(values)
        if dimension == "class":
            common = set(sorted(kept, key=lambda one: -values[one]["num_expressions"])[:classes])
            kept = [one for one in kept if one in common]
        shown.append((dimension, [(shorten(one, 40), values[one]) for one in kept], len(values) - len(kept)))
    return [one for one in shown if one[1] or one[2]]


def _cells(values):
    """Metric -> `{"value", "low", "high"}`, each `None` where there is none; trivial answers have the value alone."""
    found = {}
    for metric in METRICS:
        value = values.get(metric)
        found[metric] = {"value": None, "low": None, "high": None} | (
            value if isinstance(value, dict) else {"value": value}
        )
    return found


def _card(row, shown, members, slices):
    name = page_data.slice_name(row)
    return {
        "row": row,
        "expression": shorten(row["expression"]),
        "photo": shorten(row["image_id"], 60),
        "slice": slices.index(name) if name in slices else -1,
        "members": " ".join(map(str, members)),
        "found": FOUND.get(row["found"], row["found"]),
        "pictures": shown,
    }
