"""The sections `train` and `train.augment` of the configuration, and what of them cannot work together."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from lts_keras.config.section import Section, Share

__all__ = ["AugmentConfig", "BoxSupervisionConfig", "TrainConfig", "check_training"]


class AugmentConfig(Section):
    """Augmentation on the fly; all off in the paper."""

    flip: Share = 0.0
    """Probability of a horizontal flip that swaps every left/right word; skipped where it cannot."""
    color: Share = 0.0
    """Strength of brightness, contrast and saturation jitter."""
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Photos are scaled by a factor in [1 - scale, 1 + scale]."""


class BoxSupervisionConfig(Section):
    """Masks taught by boxes, of objects that have a box alone: weights of the terms, see `BoxSupervision`."""

    projection: NonNegativeFloat = 0.1
    pairwise: NonNegativeFloat = 0.1


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
    box_supervision: BoxSupervisionConfig | None = None
    """Whether objects with a box alone teach the mask too; in the paper every object has a mask."""
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


def check_training(train):
    """Raises a `ValueError` for settings of the section `train` that cannot work together."""
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
