"""The rows of the paper's tables as plain data: what each changes in `model`; an empty one is the default model."""

__all__ = ["PAPER_ROWS"]

_TRANSFORMER = {"locator": "transformer"}
# The paper does not say how many filters or pixels LTS* has; here two filters (the best n of table 5) and 480.
_LTS_STAR = {"locator": "transformer", "num_filters": 2, "image_size": 480}
_LONG = {"max_tokens": 20}
"""RefCOCOg's sentences are longer."""

PAPER_ROWS = {
    # Table 1
    "refcoco": {},
    "refcoco_plus": {},
    "refcocog_umd": _LONG,
    "refcocog_google": _LONG,
    # Table 2; the rows without location loss also set train.location_weight: 0
    "table2_fusion": {"locator": None, "segmentation": False},
    "table2_filter": {"fusion": False, "segmentation": False},
    "table2_fusion_filter": {"segmentation": False},
    "table2_fusion_segmentation": {"locator": None},
    "table2_filter_segmentation": {"fusion": False},
    "table2_fusion_filter_segmentation": {},
    "table2_full": {},
    # Table 3: the segmentation module alone, on CMPC's features
    "table3_refiner": {"refiner_channels": 1000},
    # Table 4: LTS-Trans
    "table4_transformer_refcoco": _TRANSFORMER,
    "table4_transformer_refcoco_plus": _TRANSFORMER,
    "table4_transformer_refcocog_umd": _TRANSFORMER | _LONG,
    # Table 5
    "table5_filters_1": {"num_filters": 1},
    "table5_filters_2": {"num_filters": 2},
    "table5_filters_3": {"num_filters": 3},
    "table5_word_filter": {"locator": "word_filter"},
    # Table 6
    **{f"table6_{size}": {"image_size": size} for size in (320, 352, 384, 416, 448, 480)},
    # Table 7: LTS*
    "table7_refcoco": _LTS_STAR,
    "table7_refcoco_plus": _LTS_STAR,
    "table7_refcocog_umd": _LTS_STAR | _LONG,
}
