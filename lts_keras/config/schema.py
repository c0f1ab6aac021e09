"""The one configuration schema: frozen, strict, the paper's values as defaults. `lts_keras.config.read` reads it."""

import difflib
from pathlib import Path
from typing import Annotated, Literal

import pydantic
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

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
from lts_keras.config.section import Section, Share

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


class AugmentConfig(Section):
    """Augmentation on the fly; all off in the paper."""

    flip: Share = 0.0
    """Probability of a horizontal flip that swaps every left/right word; skipped where it cannot."""
    color: Share = 0.0
    """Strength of brightness, contrast and saturation jitter."""
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Photos are scaled by a factor in [1 - scale, 1 + scale]."""


class TrainConfig(Section):
    """Training through `model.fit`."""

    epochs: PositiveInt = 45
    """May grow from one run to the next: training goes on behind the epochs that are there."""
    batch_size: PositiveInt = 18
    """Global batch: expressions, or photos with `per_image`. Must divide by the number of replicas."""
    sampling: Literal["per_ref", "per_expression", "per_image"] = "per_ref"
    expressions_per_image: PositiveInt = 4
    optimizer: Literal["adam", "sgd", "rmsprop", "lion"] = "adam"
    """With `weight_decay`, which is decoupled, `adam` is AdamW. `sgd` has Nesterov momentum 0.9."""
    learning_rate: PositiveFloat = 1e-3
    decay_epochs: tuple[PositiveInt, ...] = (30,)
    decay_factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    schedule: Literal["steps", "cosine", "linear", "constant"] = "steps"
    """`cosine` and `linear` fall to 1 % of the rate at the last epoch."""
    warmup_epochs: NonNegativeFloat = 0.0
    clip_norm: PositiveFloat | None = None
    """Largest norm of all gradients together, summed over the replicas first."""
    weight_decay: NonNegativeFloat = 0.0
    """Not on gamma, beta and biases."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Momentum of the moving average of the weights; 0 switches it off."""
    accumulation_steps: PositiveInt = 1
    """Steps whose gradients make one update; one device alone."""
    location_weight: NonNegativeFloat = 0.1
    """Lambda of equation 13."""
    loss_reduction: Literal["sum", "mean"] = "sum"
    """Over pixels; `mean` goes with `location_weight: 0.025` for the same balance."""
    augment: AugmentConfig = AugmentConfig()
    cache_features: bool = False
    """Computes a frozen backbone's maps once per photo (and once per flipped photo) and trains on those."""
    max_cache_gib: PositiveFloat = 4.0
    """Memory that the cache may take, all splits together."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    num_devices: PositiveInt | None = None
    """Replicas of MirroredStrategy; all GPUs, or one CPU, if not given."""
    synchronized_batch_norm: bool | None = None
    """Whether batch norm's statistics are those of all replicas; `null`: where there is more than one."""
    jit_compile: bool = False
    """Compiles the step with XLA; one device alone, and not with `per_image`."""
    split: str = "train"
    validation_split: str | None = "val"
    validation_every: PositiveInt = 1
    """Epochs from one validation to the next."""
    max_minutes: PositiveFloat | None = None
    """Ends training after the epoch in which so many processor minutes are used up; a safety limit."""
    keep_backups: PositiveInt = 1
    """So many of the last whole epochs can be gone back to."""
    best_metric: str | None = None
    """Metric of the history whose best epoch becomes the preset, for example `val_mask_mean_iou`; `null`: the last."""
    best_mode: Literal["max", "min"] = "max"
    early_stop_epochs: PositiveInt | None = None
    """Ends training when `best_metric` was not better for so many validations."""
    max_rollbacks: NonNegativeInt = 0
    """How often a loss that is not finite leads back to the last whole epoch, with half of the learning rate."""
    data_service: str | None = None
    """Address of a tf.data service dispatcher (`grpc://host:port`)."""


class EvaluateConfig(Section):
    """Evaluation at the photos' original size."""

    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Mask probability above which a pixel belongs to the object, of evaluation, export and prediction; `null`: the
    preset's."""
    splits: tuple[str, ...] = ("val", "testA", "testB", "test")
    """Splits that the data does not have are passed over."""
    batch_size: PositiveInt = 16
    bootstrap_samples: PositiveInt = 1000
    num_pictures: NonNegativeInt = 24
    groups: dict[str, tuple[str, ...]] = {}
    """Further slices: a name and the data sets that it takes together, all judged splits of them."""

    @pydantic.field_validator("threshold", mode="before")
    @classmethod
    def _no_choice(cls, value):
        if isinstance(value, str):
            raise ValueError(
                "evaluate.threshold must be a probability between 0 and 1, or null for the preset's; choosing the best "
                f"one is not possible here. Received: {value!r}"
            )
        return value


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
    onnx: bool = True


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
        _check_training(self.train)
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


def _check_training(train):
    """Refuses settings of the section `train` that cannot work together."""
    if train.early_stop_epochs and not train.best_metric:
        raise ValueError("train.early_stop_epochs needs train.best_metric, which it watches. Received: null")
    if train.best_metric and train.best_metric.startswith("val_") and not train.validation_split:
        raise ValueError(f"train.best_metric: {train.best_metric} needs train.validation_split. Received: null")
    if train.jit_compile and train.sampling == "per_image":
        # XLA's batch norm divides by the rows that there may be at the most, not by those that are left.
        raise ValueError(
            "train.jit_compile needs train.sampling: per_ref or per_expression, whose batches have no rows to leave "
            "out. Received: per_image"
        )
    if (train.num_devices or 1) > 1:
        for key in ("jit_compile", "accumulation_steps"):
            if getattr(train, key) not in (False, 1):
                raise ValueError(
                    f"train.{key} works on one device alone. Received: {getattr(train, key)} and "
                    f"train.num_devices: {train.num_devices}"
                )
