"""The one configuration schema: frozen, strict, the paper's values as defaults. `lts_keras.config.read` reads it."""

import difflib
from pathlib import Path
from typing import Annotated, Literal

import pydantic
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from lts_keras.config.data_schema import (
    CheckConfig,
    CocoSource,
    DataConfig,
    ManifestSource,
    ParquetSource,
    ReferSource,
    ScenesSource,
)
from lts_keras.config.defaults import BATCH_SIZES, MAX_PHOTO_PIXELS
from lts_keras.config.paper_rows import PAPER_ROWS
from lts_keras.config.refiner_checks import check_refiner
from lts_keras.config.section import Section, Share
from lts_keras.config.train_schema import AugmentConfig, TrainConfig, check_training

__all__ = [
    "AugmentConfig",
    "BlessConfig",
    "CheckConfig",
    "CocoSource",
    "Config",
    "DataConfig",
    "EvaluateConfig",
    "ExportConfig",
    "ManifestSource",
    "ModelConfig",
    "ParquetSource",
    "ReferSource",
    "ScenesSource",
    "TrainConfig",
    "WeightsConfig",
]


class WeightsConfig(Section):
    """Files with weights to start from; none is ever downloaded. `{data.root}` in a path stands for that key.

    What is frozen must be given; `random` says that random values are meant.
    """

    backbone: Literal["random"] | Path | None = None
    """A `.keras` model with three maps, a Darknet weights file, or `random`."""
    glove: Literal["random"] | Path | None = None
    """A GloVe text file, or `random`."""
    glove_words: NonNegativeInt = 0
    """So many words of the file, its commonest first, are known beside those of the train split: they keep its vectors,
    where each would be the unknown word. 0, the paper's: none."""

    @pydantic.model_validator(mode="after")
    def _words_of_a_file(self):
        if self.glove_words and self.glove in (None, "random"):
            raise ValueError(
                f"weights.glove_words: {self.glove_words} needs weights.glove, a GloVe text file to take them from. "
                f"Received: {self.glove or 'null'}"
            )
        return self

    @pydantic.field_validator("backbone", "glove", mode="before")
    @classmethod
    def _one_path(cls, value, info):
        if value is None or isinstance(value, str | Path):
            return value
        raise ValueError(f"weights.{info.field_name} must be a path, random or null. Received: {value!r}")


class ModelConfig(Section):
    """Arguments of `lts_keras.models.variants.make_lts`; see there."""

    variant: str | None = None
    """A row of the paper's tables, see `lts_keras.config.paper_rows`; its values stand below the keys given here."""
    image_size: Annotated[int, Field(gt=0, multiple_of=32)] = 416
    image_resize: Literal["letterbox", "plain"] = "letterbox"
    """How a photo becomes the square: its shape kept, grey beside it; or stretched, as the paper says literally."""
    max_tokens: PositiveInt = 15
    backbone: str = "darknet53"
    """`darknet53`, `darknet_tiny`, `file` (weights.backbone is a `.keras` file) or a name in `keras.applications`."""
    extra_convs: bool = True
    trainable_backbone: Literal["last_two", "none", "all"] = "last_two"
    backbone_learning_rate_multiplier: NonNegativeFloat = 1.0
    embedding_dim: PositiveInt = 300
    trainable_embedding: bool = True
    gru_units: PositiveInt = 512
    gru_merge: Literal["concat", "sum"] = "concat"
    joint_dim: PositiveInt = 1024
    fusion_dim: PositiveInt = 512
    fusion: bool = True
    locator: Literal["filter", "word_filter", "transformer"] | None = "filter"
    num_filters: Annotated[int, Field(ge=1, le=3)] = 1
    num_heads: PositiveInt = 4
    feed_forward_dim: PositiveInt = 1024
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    segmentation: bool = True
    aspp_dim: PositiveInt = 256
    aspp_rates: tuple[PositiveInt, ...] = (6, 12, 18)
    coordinates: bool = False
    refiner_channels: PositiveInt | None = None
    """Table 3: the segmentation module alone, on another model's features with so many channels, instead of LTS."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """Mask probability above which a pixel belongs to the object; kept in the preset, see `evaluate.threshold`."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _take_variant(cls, values):
        """Puts a row's values under the keys that are given."""
        name = values.get("variant") if isinstance(values, dict) else None
        if name is None:
            return values
        if name not in PAPER_ROWS:
            near = difflib.get_close_matches(str(name), list(PAPER_ROWS), n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"model.variant must be a row of the paper's tables. Received: {name!r}{hint}")
        return PAPER_ROWS[name] | values


class EvaluateConfig(Section):
    """Evaluation at the photos' original size."""

    threshold: float | Literal["best"] | None = None
    """Mask probability above which a pixel belongs to the object, of evaluation, export and prediction; `null`: the
    preset's; `best`: the one with the highest mean IoU on `calibration_split`."""
    presence: bool = False
    """Whether the model may say that nothing is there: the presence score is calibrated on `calibration_split`, and an
    answer below its threshold is an empty mask. Off in the paper's rows."""
    calibration_split: str | None = None
    """Split that the best threshold and the presence are taken from; it is not judged."""
    splits: tuple[str, ...] = ("val", "testA", "testB", "test")
    """Splits that the data does not have are passed over."""
    image_size: Annotated[int, Field(gt=0, multiple_of=32)] | None = None
    """Side of the square that photos are judged at; `null`: the one that the model was trained at (table 6)."""
    batch_size: PositiveInt = 16
    num_devices: PositiveInt | None = None
    """Devices that share the photos; `null`: all GPUs, or the processor."""
    bootstrap_samples: PositiveInt = 1000
    min_slice_size: PositiveInt = 30
    """Slices of fewer expressions are shown with their count and not judged."""
    num_pictures: NonNegativeInt = 24
    groups: dict[str, tuple[str, ...]] = {}
    """Further slices: a name and the data sets that it takes together, all judged splits of them."""

    @pydantic.field_validator("threshold", mode="before")
    @classmethod
    def _probability_or_best(cls, value):
        number = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1
        if number or value in (None, "best"):
            return value
        raise ValueError(
            "evaluate.threshold must be a probability between 0 and 1, best, or null for the preset's. "
            f"Received: {value!r}"
        )

    @pydantic.model_validator(mode="after")
    def _calibration(self):
        if self.calibration_split is None and (self.threshold == "best" or self.presence):
            key = "evaluate.threshold: best" if self.threshold == "best" else "evaluate.presence: true"
            raise ValueError(f"{key} needs evaluate.calibration_split, a split that is not judged. Received: null")
        if self.calibration_split in self.splits:
            raise ValueError(
                "evaluate.calibration_split must not be judged: what is chosen on a split flatters its scores. Take "
                f"it out of evaluate.splits {list(self.splits)}. Received: {self.calibration_split}"
            )
        return self


class BlessConfig(Section):
    """What a model must reach to be pushed, on one slice."""

    dataset: str | None = None
    """Data set to judge on; all of the split if not given."""
    split: str = "val"
    min_mean_iou: Share = 0.0
    min_overall_iou: Share = 0.0
    min_localization_accuracy: Share = 0.0
    max_mean_iou_drop: Share = 0.02
    """Against the last blessed model."""


class ExportConfig(Section):
    """The served model."""

    batch_sizes: tuple[PositiveInt, ...] = BATCH_SIZES
    batch_timeout_micros: NonNegativeInt = 2000
    max_photo_pixels: PositiveInt = MAX_PHOTO_PIXELS
    """Larger photos are refused."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """In which the served network calculates: `bfloat16` is faster on processors that have it in hardware, and slower
    on others."""
    warm_up_requests: str | None = None
    """TFRecord file of a server's request log: real requests that a server runs before it gives a version out; `null`:
    a drawn photo."""
    onnx: Literal["whole", "halves", "both", False] = "whole"
    """ONNX files beside the SavedModel: the network in one (`true` says the same), in two halves, for several sentences
    on one photo, or both; each file holds its own weights."""
    onnx_int8: bool = False
    """Each of them that reads photos once more with its convolutions in 8 bits, calibrated on prepared photos."""
    onnx_calibration_photos: PositiveInt = 64
    max_mean_iou_loss: Share = 0.005
    """An export of less precision must not answer worse than this below the preset's mean IoU on `evaluate.splits`."""

    @pydantic.field_validator("onnx", mode="before")
    @classmethod
    def _onnx_by_name(cls, value):
        return "whole" if value is True else value

    @pydantic.model_validator(mode="after")
    def _int8_of_onnx(self):
        if self.onnx_int8 and not self.onnx:
            raise ValueError("export.onnx_int8: true needs export.onnx: whole, halves or both. Received: false")
        return self


class Config(Section):
    """Everything that decides a run."""

    name: str = "lts"
    seed: NonNegativeInt = 0
    imports: tuple[str, ...] = ()
    """Modules that register classes of your own, such as a subclass of `LTS`; imported before a model is made."""
    data: DataConfig = DataConfig()
    weights: WeightsConfig = WeightsConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    bless: BlessConfig = BlessConfig()
    export: ExportConfig = ExportConfig()

    @pydantic.field_validator("imports")
    @classmethod
    def _module_names(cls, names):
        for name in names:
            if not all(part.isidentifier() for part in name.split(".")):
                raise ValueError(f"imports must name modules, such as my_package.model. Received: {name!r}")
        return names

    @pydantic.model_validator(mode="after")
    def _combinations(self):
        """Refuses what cannot work together, naming both keys."""
        if self.train.cache_features and self.model.trainable_backbone != "none":
            raise ValueError(
                "train.cache_features needs model.trainable_backbone: none. "
                f"Received: {self.model.trainable_backbone!r}"
            )
        if self.train.cache_features and (self.train.augment.color or self.train.augment.scale):
            raise ValueError(
                "train.cache_features allows flips alone, so train.augment.color and train.augment.scale must be 0. "
                f"Received: {self.train.augment.color}, {self.train.augment.scale}"
            )
        check_training(self.train)
        check_refiner(self)
        if not self.model.locator and not self.model.fusion:
            raise ValueError("model.fusion must be true where model.locator is null: no sentence would enter.")
        if self.model.num_filters > 1 and self.model.locator not in ("filter", "transformer"):
            raise ValueError(
                f"model.num_filters above 1 needs model.locator: filter or transformer. "
                f"Received: {self.model.locator!r}"
            )
        if self.model.backbone == "file" and self.weights.backbone in (None, "random"):
            received = self.weights.backbone or "null"
            raise ValueError(f"model.backbone: file needs weights.backbone, a .keras file. Received: {received}")
        return self
