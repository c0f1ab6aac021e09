"""The rows that benchmarks/ablations.py trains, the paper's numbers for them, and tables of both."""

import dataclasses
import statistics

__all__ = ["ROWS", "SPLITS", "TABLES", "print_tables"]

SPLITS = ("val", "testA", "testB")
_LARGER, _SMALLER = 128, 64
"""Sides of table 6, beside the configuration's 96: the paper has 320 to 480 about 416."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One training: its changes of the configuration, and further sizes that photos are judged at."""

    changes: tuple = ()
    judged_at: tuple = ()


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
    "table6_smaller": Row((f"model.image_size={_SMALLER}",)),
    "table6_larger": Row((f"model.image_size={_LARGER}",)),
    "table7_lts_star": Row(("model.variant=table7_refcoco", f"model.image_size={_LARGER}")),
}

TABLES = {
    "Table 2: fusion, filter, segmentation (Seg) and location loss": (
        ("Fusion", "table2_fusion", None, (55.08, 56.82, 53.52)),
        ("Filter", "table2_filter", None, (54.53, 56.05, 52.55)),
        ("Fusion + Filter", "table2_fusion_filter", None, (56.94, 58.53, 55.12)),
        ("Fusion + Seg", "table2_fusion_segmentation", None, (63.50, 65.31, 60.97)),
        ("Filter + Seg", "table2_filter_segmentation", None, (63.64, 66.41, 60.72)),
        ("Fusion + Filter + Seg", "table2_fusion_filter_segmentation", None, (65.05, 67.49, 62.43)),
        ("Fusion + Filter + Seg + L_loc", "table2_full", None, (65.43, 67.76, 63.08)),
    ),
    "Table 4: transformer instead of filter": (
        ("LTS", "table2_full", None, (65.43, None, None)),
        ("LTS-Trans", "table4_transformer", None, (66.15, None, None)),
    ),
    "Table 5: filters in a row, and a filter for every word": (
        ("n = 1", "table2_full", None, (65.43, 67.76, 63.08)),
        ("n = 2", "table5_filters_2", None, (66.04, 68.68, 63.27)),
        ("n = 3", "table5_filters_3", None, (65.54, 67.82, 62.97)),
        ("WordFilter", "table5_word_filter", None, (64.92, 67.31, 62.50)),
    ),
    "Table 6: resolution (the paper's 320, 416 and 480)": (
        (f"{_SMALLER}", "table6_smaller", None, (63.01, 65.40, 60.78)),
        ("96", "table2_full", None, (65.43, 67.76, 63.08)),
        (f"{_LARGER}", "table6_larger", None, (65.90, 68.16, 63.45)),
        (f"trained at 96, judged at {_SMALLER}", "table2_full", _SMALLER, (None, None, None)),
        (f"trained at 96, judged at {_LARGER}", "table2_full", _LARGER, (None, None, None)),
    ),
    "Table 7: transformer, two filters and the larger size": (
        ("LTS", "table2_full", None, (65.43, None, None)),
        ("LTS*", "table7_lts_star", None, (66.75, None, None)),
    ),
}
"""Title -> rows of (the paper's name, name in `ROWS`, size judged at, the paper's IoU on RefCOCO val, testA, testB)."""


def print_tables(found):
    """Prints all tables in Markdown.

    Args:
        found: dict row -> size judged at or `None` -> seed -> contents of metrics.json.
    """
    for title, rows in TABLES.items():
        print(f"\n**{title}**\n")
        heads = [f"{split} {whose}" for split in SPLITS for whose in ("ours", "paper")]
        print(f"| model | {' | '.join(heads)} | localization, val | overall IoU, val | seeds |")
        print("|" + "---|" * (len(heads) + 4))
        for name, row, size, paper in rows:
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
