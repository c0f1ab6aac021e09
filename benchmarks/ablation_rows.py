"""The rows that benchmarks/ablations.py trains, and short tables of them beside the paper's numbers."""

import dataclasses
import statistics

__all__ = ["PAPER_SIZES", "ROWS", "SPLITS", "TABLES", "print_tables"]

SPLITS = ("val", "testA", "testB")
_LARGER, _SMALLER = 128, 64
PAPER_SIZES = {_SMALLER: "table6_320", _LARGER: "table6_480"}
"""Sides of table 6, beside the configuration's 96, and the rows that they stand for: the paper has 320 to 480."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One training."""

    changes: tuple = ()
    """Of the configuration."""
    judged_at: tuple = ()
    """Further sizes that photos are judged at."""
    paper_row: str | None = None
    """What `lts table` knows it as, where `model.variant` does not say."""


_WITHOUT_LOCATION_LOSS = ("fusion", "filter", "fusion_filter", "fusion_segmentation", "filter_segmentation")
ROWS = {
    **{
        f"table2_{name}": Row((f"model.variant=table2_{name}", "train.location_weight=0"))
        for name in (*_WITHOUT_LOCATION_LOSS, "fusion_filter_segmentation")
    },
    "table2_full": Row(("model.variant=table2_full",), judged_at=(_SMALLER, _LARGER)),
    "table4_transformer": Row(("model.variant=table4_transformer_refcoco",)),
    "table5_filters_2": Row(("model.variant=table5_filters_2",)),
    "table5_filters_3": Row(("model.variant=table5_filters_3",)),
    "table5_word_filter": Row(("model.variant=table5_word_filter",)),
    "table6_smaller": Row((f"model.image_size={_SMALLER}",), paper_row=PAPER_SIZES[_SMALLER]),
    "table6_larger": Row((f"model.image_size={_LARGER}",), paper_row=PAPER_SIZES[_LARGER]),
    "table7_lts_star": Row(("model.variant=table7_refcoco", f"model.image_size={_LARGER}")),
}

TABLES = {
    2: {
        "Fusion": ("table2_fusion", None, 0),
        "Filter": ("table2_filter", None, 1),
        "Fusion + Filter": ("table2_fusion_filter", None, 2),
        "Fusion + Seg": ("table2_fusion_segmentation", None, 3),
        "Filter + Seg": ("table2_filter_segmentation", None, 4),
        "Fusion + Filter + Seg": ("table2_fusion_filter_segmentation", None, 5),
        "Fusion + Filter + Seg + L_loc": ("table2_full", None, 6),
    },
    4: {"LTS": ("table2_full", None, 0), "LTS-Trans": ("table4_transformer", None, 1)},
    5: {
        "n = 1": ("table2_full", None, 0),
        "n = 2": ("table5_filters_2", None, 1),
        "n = 3": ("table5_filters_3", None, 2),
        "WordFilter": ("table5_word_filter", None, 3),
    },
    6: {
        f"{_SMALLER} (the paper's 320)": ("table6_smaller", None, 0),
        "96 (the paper's 416)": ("table2_full", None, 3),
        f"{_LARGER} (the paper's 480)": ("table6_larger", None, 5),
        f"trained at 96, judged at {_SMALLER}": ("table2_full", _SMALLER, None),
        f"trained at 96, judged at {_LARGER}": ("table2_full", _LARGER, None),
    },
    7: {"LTS": ("table2_full", None, 0), "LTS*": ("table7_lts_star", None, 1)},
}
"""Number of the table -> name of a line -> (name in `ROWS`, size judged at, place of its row in the paper's table)."""


def paper_scores(table, row):
    """The paper's IoU on RefCOCO's val, testA and testB, `None` where it has none."""
    from lts_keras.evaluation.paper_scores import PAPER_TABLES

    (found,) = (one for one in PAPER_TABLES if one.number == table)
    values = dict(zip(found.columns, (score and score[0] for score in found.rows[row].scores), strict=True))
    return tuple(values.get(("refcoco", split)) for split in SPLITS)


def print_tables(found):
    """Prints all tables in Markdown.

    Args:
        found: dict row -> size judged at or `None` -> seed -> contents of metrics.json.
    """
    for number, lines in TABLES.items():
        print(f"\n**Table {number}**\n")
        heads = [f"{split} {whose}" for split in SPLITS for whose in ("ours", "paper")]
        print(f"| model | {' | '.join(heads)} | localization, val | overall IoU, val | seeds |")
        print("|" + "---|" * (len(heads) + 4))
        for name, (row, size, place) in lines.items():
            paper = (None,) * len(SPLITS) if place is None else paper_scores(number, place)
            runs = list(found.get(row, {}).get(size, {}).values())
            cells = []
            for split, theirs in zip(SPLITS, paper, strict=True):
                cells += [mean_and_spread(runs, split, "mean_iou"), "-" if theirs is None else f"{theirs:.2f}"]
            cells += [mean_and_spread(runs, "val", key) for key in ("localization_accuracy", "overall_iou")]
            print(f"| {name} | {' | '.join(cells)} | {len(runs)} |")


def mean_and_spread(runs, split, metric):
    """Mean over seeds, in percent, with the standard deviation where there are several; a dash where there is none."""
    values = [100 * run["slices"][f"scenes/{split}"][metric]["value"] for run in runs]
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"
