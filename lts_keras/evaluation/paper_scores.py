"""The paper's tables 1 to 7 as plain data, in percent as printed, and which of our variants each row is.

The paper calls its metric "IoU" and does not say whether that is the mean over expressions or the total over all
pixels. Source: Jing et al., "Locate then Segment", CVPR 2021, tables 1 to 7.
"""

import dataclasses

__all__ = ["PAPER_TABLES", "SAME_MODEL", "PaperRow", "PaperTable"]

_COCO = tuple(("refcoco", split) for split in ("val", "testA", "testB"))
_PLUS = tuple(("refcoco_plus", split) for split in ("val", "testA", "testB"))
_UMD = (("refcocog_umd", "val"), ("refcocog_umd", "test"))
_VALS = (("refcoco", "val"), ("refcoco_plus", "val"), ("refcocog_umd", "val"))
_IOU = ("iou",)
_ALL = ("iou", *(f"precision_at_{level}" for level in (50, 60, 70, 80, 90)))

SAME_MODEL = {
    name: "refcoco"
    for name in ("table2_full", "table2_fusion_filter_segmentation", "table5_filters_1", "table6_416", "refcoco")
}
"""Variants that are the paper's default model under several names; `train.location_weight: 0` tells two rows apart."""


@dataclasses.dataclass(frozen=True)
class PaperRow:
    """One row of a table.

    Attributes:
        labels: tuple of str, its leading cells.
        scores: tuple of one tuple a column: the metrics of the table, `None` where the paper has none.
        variants: names of `PAPER_ROWS` that are this row; empty for other people's methods.
        location_loss: bool, whether equation 12 was trained; `None`: not asked.
        image_size: int, the side that photos are judged at in table 6.
        coarse: bool. The coarse masks alone, without the refiner (table 3).
    """

    labels: tuple
    scores: tuple
    variants: tuple = ()
    location_loss: bool | None = None
    image_size: int | None = None
    coarse: bool = False


@dataclasses.dataclass(frozen=True)
class PaperTable:
    """One table.

    Attributes:
        number: int.
        caption: str.
        heads: tuple of str, heads of the leading cells.
        columns: tuple of `(data set, split)`, the names that our configurations give them.
        metrics: tuple of str: `"iou"` and `precision_at_<percent>`.
        rows: tuple of `PaperRow`.
    """

    number: int
    caption: str
    heads: tuple
    columns: tuple
    metrics: tuple
    rows: tuple


def _plain(*values):
    return tuple((value,) for value in values)


def _method(name, backbone, crf, *values):
    return PaperRow((name, backbone, crf), _plain(*values, *[None] * (8 - len(values))))


_TABLE_1 = (
    _method("RMI", "ResNet101", "yes", 45.18, 45.69, 45.57, 29.86, 30.48, 29.50),
    _method("DMN", "ResNet101", "no", 49.78, 54.83, 45.13, 38.88, 44.22, 32.29),
    _method("RRN", "ResNet101", "yes", 55.33, 57.26, 53.95, 39.75, 42.15, 36.11),
    _method("MAttNet", "MRCN-ResNet101", "no", 56.51, 62.37, 51.70, 46.67, 52.39, 40.08, 47.64, 48.61),
    _method("NMTree", "MRCN-ResNet101", "no", 56.59, 63.02, 52.06, 47.40, 53.01, 41.56, 46.59, 47.88),
    _method("CMSA", "ResNet101", "yes", 58.32, 60.61, 55.09, 43.76, 47.60, 37.89),
    _method("Lang2seg", "ResNet101", "no", 58.90, 61.77, 53.81, None, None, None, 46.37, 46.95),
    _method("BCAM", "ResNet101", "yes", 61.35, 63.37, 59.57, 48.57, 52.87, 42.13),
    _method("CMPC", "ResNet101", "yes", 61.36, 64.53, 59.64, 49.56, 53.44, 43.23),
    _method("MCN+ASNLS", "DarkNet53", "no", 62.44, 64.20, 59.71, 50.62, 54.99, 44.69, 49.22, 49.40),
    _method("LSCM", "ResNet101", "yes", 61.47, 64.99, 59.55, 49.34, 53.12, 43.50),
    _method("CGAN", "DarkNet53", "no", 64.86, 68.04, 62.07, 51.03, 55.51, 44.06, 51.01, 51.69),
    PaperRow(
        ("LTS", "DarkNet53", "no"),
        _plain(65.43, 67.76, 63.08, 54.21, 58.32, 48.02, 54.40, 54.25),
        ("refcoco", "refcoco_plus", "refcocog_umd"),
        True,
    ),
)

# fusion, filter, segmentation, location loss; then val, testA, testB: IoU and prec@0.5 to 0.9
_TABLE_2 = (
    PaperRow(
        ("yes", "", "", ""),
        (
            (55.08, 60.58, 51.26, 41.55, 27.15, 6.76),
            (56.82, 62.49, 53.60, 42.87, 28.27, 6.65),
            (53.52, 59.20, 49.64, 39.20, 26.22, 8.58),
        ),
        ("table2_fusion",),
    ),
    PaperRow(
        ("", "yes", "", ""),
        (
            (54.53, 60.43, 50.00, 39.03, 24.95, 5.85),
            (56.05, 61.66, 51.76, 40.32, 25.61, 5.67),
            (52.55, 56.45, 46.91, 37.45, 24.10, 8.03),
        ),
        ("table2_filter",),
    ),
    PaperRow(
        ("yes", "yes", "", ""),
        (
            (56.94, 63.49, 54.20, 44.13, 29.43, 8.36),
            (58.53, 64.52, 55.65, 45.59, 30.51, 7.94),
            (55.12, 60.61, 51.21, 41.32, 29.07, 10.64),
        ),
        ("table2_fusion_filter",),
    ),
    PaperRow(
        ("yes", "", "yes", ""),
        (
            (63.50, 72.84, 65.85, 57.61, 42.33, 13.41),
            (65.31, 75.32, 69.45, 60.46, 44.76, 11.38),
            (60.97, 69.13, 62.24, 53.39, 39.65, 15.68),
        ),
        ("table2_fusion_segmentation",),
    ),
    PaperRow(
        ("", "yes", "yes", ""),
        (
            (63.64, 72.94, 66.52, 58.01, 42.84, 13.20),
            (66.41, 77.00, 71.27, 62.63, 46.65, 12.82),
            (60.72, 68.03, 61.14, 52.60, 39.59, 16.68),
        ),
        ("table2_filter_segmentation",),
    ),
    PaperRow(
        ("yes", "yes", "yes", ""),
        (
            (65.05, 75.01, 68.48, 60.69, 44.93, 14.03),
            (67.49, 78.10, 72.87, 64.47, 48.31, 13.24),
            (62.43, 70.99, 64.65, 55.27, 42.41, 17.48),
        ),
        ("refcoco",),
        False,
    ),
    PaperRow(
        ("yes", "yes", "yes", "yes"),
        (
            (65.43, 75.16, 69.51, 60.74, 45.17, 14.41),
            (67.76, 78.47, 73.13, 64.56, 47.98, 12.92),
            (63.08, 71.82, 64.59, 55.74, 42.79, 17.35),
        ),
        ("refcoco",),
        True,
    ),
)

_DEFAULT = ("refcoco", "refcoco_plus", "refcocog_umd")
_TRANSFORMER = ("table4_transformer_refcoco", "table4_transformer_refcoco_plus", "table4_transformer_refcocog_umd")
_LTS_STAR = ("table7_refcoco", "table7_refcoco_plus", "table7_refcocog_umd")
_SIZES = {
    320: (63.01, 65.40, 60.78),
    352: (64.04, 66.24, 61.76),
    384: (64.45, 67.02, 62.47),
    416: (65.43, 67.76, 63.08),
    448: (65.71, 67.90, 63.23),
    480: (65.90, 68.16, 63.45),
}

PAPER_TABLES = (
    PaperTable(
        1,
        "Comparison with the state-of-the-art methods on three benchmark datasets",
        ("Method", "Backbone", "DCRF"),
        (*_COCO, *_PLUS, *_UMD),
        _IOU,
        _TABLE_1,
    ),
    PaperTable(2, "Ablation studies on RefCOCO", ("Fusion", "Filter", "Seg", "Location loss"), _COCO, _ALL, _TABLE_2),
    PaperTable(
        3,
        "The segmentation module on CMPC, RefCOCO",
        ("Model",),
        _COCO,
        _IOU,
        (
            PaperRow(("CMPC",), _plain(61.36, 64.53, 59.64), ("table3_refiner",), coarse=True),
            PaperRow(("CMPC+Seg",), _plain(62.75, 65.34, 61.08), ("table3_refiner",)),
        ),
    ),
    PaperTable(
        4,
        "Transformer instead of filtering, val sets of three datasets",
        ("Model",),
        _VALS,
        _IOU,
        (
            PaperRow(("LTS",), _plain(65.43, 54.21, 54.40), _DEFAULT, True),
            PaperRow(("LTS-Trans",), _plain(66.15, 54.52, 54.51), _TRANSFORMER, True),
        ),
    ),
    PaperTable(
        5,
        "Effects of filtering on RefCOCO",
        ("Model", "n"),
        _COCO,
        _IOU,
        (
            PaperRow(("LTS", "1"), _plain(65.43, 67.76, 63.08), ("refcoco",), True),
            PaperRow(("LTS", "2"), _plain(66.04, 68.68, 63.27), ("table5_filters_2",), True),
            PaperRow(("LTS", "3"), _plain(65.54, 67.82, 62.97), ("table5_filters_3",), True),
            PaperRow(("LTS-WordFilter", "1"), _plain(64.92, 67.31, 62.50), ("table5_word_filter",), True),
        ),
    ),
    PaperTable(
        6,
        "Input resolutions, n = 1, RefCOCO",
        ("Resolution",),
        _COCO,
        _IOU,
        tuple(
            PaperRow(
                (f"{size} x {size}",),
                _plain(*scores),
                ("refcoco",) if size == 416 else (f"table6_{size}",),
                True,
                image_size=size,
            )
            for size, scores in _SIZES.items()
        ),
    ),
    PaperTable(
        7,
        "Transformer, more filters and larger input, val sets of three datasets (filters and pixels are not said: "
        "two filters and 480 x 480 here)",
        ("Model",),
        _VALS,
        _IOU,
        (
            PaperRow(("LTS",), _plain(65.43, 54.21, 54.40), _DEFAULT, True),
            PaperRow(("LTS*",), _plain(66.75, 54.94, 54.51), _LTS_STAR, True),
        ),
    ),
)
