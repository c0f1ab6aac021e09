"""Every row of the paper's tables by its name, and the boxes that they differ in."""

import difflib
import inspect

import keras

from lts_keras.config.paper_rows import PAPER_ROWS
from lts_keras.layers.fusion import Fusion
from lts_keras.layers.locator import NoLocator
from lts_keras.layers.prior_upsampler import PriorUpsampler
from lts_keras.layers.relevance_filter import RelevanceFilter, SharedFilter, WordFilter
from lts_keras.layers.segmentation_head import SegmentationHead
from lts_keras.layers.sentence_encoder import SentenceEncoder
from lts_keras.layers.transformer_locator import TransformerLocator
from lts_keras.models.backbones import make_backbone
from lts_keras.models.lts import BOXES, LTS, VOCABULARY_SIZE
from lts_keras.models.refiner import Refiner

__all__ = ["LOCATORS", "lts_variant", "make_lts"]

LOCATORS = ("filter", "word_filter", "transformer", None)


def lts_variant(name, *, vocabulary=None, backbone="darknet53", **overrides):
    """Makes the model of one row of the paper's tables, with random weights.

    Args:
        name: str, a key of `lts_keras.config.paper_rows.PAPER_ROWS`, which is also the name of a file in `configs/`;
            for example `"table5_filters_2"`.
        vocabulary: sequence of str, the words of ids 2, 3, ...
        backbone: name, path, model or layer, as `make_backbone` takes it. Defaults to Darknet-53.
        **overrides: arguments of `make_lts`, which win over the row's.

    Returns:
        `LTS`; for `"table3_refiner"`, which has no use for the other arguments, a `Refiner`.

    Raises:
        ValueError: for a name or an argument that is not known, with the nearest one.
    """
    if name not in PAPER_ROWS:
        raise ValueError(f"variant must be a row of the paper's tables. Received: {name!r}{_nearest(name, PAPER_ROWS)}")
    options = PAPER_ROWS[name] | overrides
    channels = options.pop("refiner_channels", None)
    known = _arguments()
    for key in options:
        if key not in known:
            raise ValueError(f"unknown argument of a variant: {key!r}{_nearest(key, known)}")
    if channels:
        return Refiner(channels, **{key: options[key] for key in ("aspp_dim", "aspp_rates", "dtype") if key in options})
    return make_lts(vocabulary=vocabulary, backbone=backbone, **options)


def make_lts(
    *,
    vocabulary=None,
    vocabulary_size=VOCABULARY_SIZE,
    backbone="darknet53",
    extra_convs=True,
    trainable_backbone=None,
    embedding_dim=300,
    trainable_embedding=True,
    gru_units=512,
    gru_merge="concat",
    joint_dim=1024,
    fusion_dim=512,
    fusion=True,
    coordinates=False,
    locator="filter",
    num_filters=1,
    num_heads=4,
    feed_forward_dim=1024,
    dropout=0.1,
    segmentation=True,
    aspp_dim=256,
    aspp_rates=(6, 12, 18),
    dtype=None,
    **kwargs,
):
    """Makes an `LTS` from plain values, the boxes' arguments side by side; the defaults are the paper's.

    Args:
        vocabulary: sequence of str, the words of ids 2, 3, ...
        vocabulary_size: int. Rows of the embedding, where `vocabulary` is not given.
        backbone, extra_convs: as `make_backbone`'s `source` and `extra_convs`.
        trainable_backbone: `"last_two"`, `"none"` or `"all"`, see `freeze_backbone`. Not given, a backbone by name has
            the last two convolutions trained, and a model or layer trains as it was given.
        embedding_dim, trainable_embedding: of `SentenceEncoder`.
        gru_units, gru_merge: its `units` and `merge`.
        joint_dim, fusion_dim, coordinates: of `Fusion`.
        fusion: bool. `False` keeps the sentence out of equation 5 (table 2).
        locator: `"filter"` (equation 8), `"word_filter"` (table 5), `"transformer"` (equation 9), `None` (table 2: no
            localization), or a layer.
        num_filters: int, 1 to 3. Filters in a row (table 5); with the transformer it is the first (table 7).
        num_heads, feed_forward_dim, dropout: of `TransformerLocator`.
        segmentation: bool. `False` makes the upsampled prior the mask (table 2).
        aspp_dim, aspp_rates: of `SegmentationHead`.
        dtype: dtype policy or its name, of all boxes, the backbone included.
        **kwargs: further arguments of `LTS`.

    Returns:
        `LTS`.
    """
    policy = keras.config.dtype_policy() if dtype is None else keras.dtype_policies.get(dtype)
    rows = vocabulary_size if vocabulary is None else len(vocabulary) + 2
    if trainable_backbone is None and not isinstance(backbone, keras.layers.Layer):
        trainable_backbone = "last_two"
    return LTS(
        # Without a type of its own, a backbone from a file keeps the file's.
        backbone=make_backbone(backbone, extra_convs=extra_convs, trainable=trainable_backbone, dtype=dtype),
        sentence_encoder=SentenceEncoder(
            rows, embedding_dim, gru_units, gru_merge, trainable_embedding, dtype=policy, name="sentence_encoder"
        ),
        fusion=Fusion(joint_dim, fusion_dim, fusion, coordinates, dtype=policy, name="fusion"),
        locator=_make_locator(
            locator,
            segmentation,
            {"num_filters": num_filters},
            {"num_heads": num_heads, "feed_forward_dim": feed_forward_dim, "dropout": dropout},
            policy,
        ),
        segmentation_head=SegmentationHead(aspp_dim, aspp_rates, dtype=policy, name="segmentation_head")
        if segmentation
        else PriorUpsampler(dtype=policy, name="segmentation_head"),
        vocabulary=vocabulary,
        dtype=policy,
        **kwargs,
    )


def _make_locator(locator, segmentation, filters, attention, policy):
    options = {"dtype": policy, "name": "locator"}
    if locator == "filter":
        return RelevanceFilter(**filters, **options)
    if locator == "word_filter":
        return WordFilter(**options)
    if locator == "transformer":
        return TransformerLocator(**attention, **filters, **options)
    if locator is None:
        # With segmentation nothing stands for the prior; without it the features need one score per position.
        return NoLocator(**options) if segmentation else SharedFilter(**options)
    if isinstance(locator, keras.layers.Layer):
        return locator
    raise ValueError(f"locator must be one of {LOCATORS} or a layer. Received: {locator!r}")


def _arguments():
    """Names of all arguments of `make_lts`, those that it hands on to `LTS` included."""
    given = inspect.signature(make_lts).parameters.keys() - {"kwargs"}
    handed_on = inspect.signature(LTS).parameters.keys() - set(BOXES) - {"kwargs"}
    return [*given, *handed_on, "name"]


def _nearest(name, known):
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.4)
    return f"; did you mean {near[0]!r}?" if near else ""
