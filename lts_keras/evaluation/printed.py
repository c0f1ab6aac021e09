"""Metrics as they are printed: their names, and the scores of an evaluation as a table of text."""

__all__ = ["GRES_METRICS", "METRICS", "format_slices"]

METRICS = {
    "mean_iou": "mean IoU",
    "overall_iou": "overall IoU",
    "precision_at_50": "P@50",
    "precision_at_60": "P@60",
    "precision_at_70": "P@70",
    "precision_at_80": "P@80",
    "precision_at_90": "P@90",
    "localization_accuracy": "localization",
}
GRES_METRICS = {"giou": "gIoU", "ciou": "cIoU", "n_acc": "N-acc", "t_acc": "T-acc"}
"""Of slices with expressions that have no target."""


def format_slices(slices):
    """Returns metrics.json's `slices` as an aligned text table."""
    metrics = METRICS | (GRES_METRICS if any("giou" in values for values in slices.values()) else {})
    rows = [("", *metrics.values(), "expressions")]
    for name, values in slices.items():
        cells = [values.get(metric) or {} for metric in metrics]
        texts = ["-" if cell.get("value") is None else f"{cell['value']:.3f}" for cell in cells]
        if cells[0].get("low") is not None:
            texts[0] += f" [{cells[0]['low']:.2f}, {cells[0]['high']:.2f}]"
        rows.append((name, *texts, str(values["num_expressions"])))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )
