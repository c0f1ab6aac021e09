"""Optimizer and learning-rate schedules as the configuration names them."""

import math

import keras
from keras import ops

__all__ = ["ScaledAdamW", "WarmupSchedule", "make_optimizer"]


@keras.saving.register_keras_serializable(package="lts_keras")
class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then steps (the paper's: x0.1 at epoch 30) or a half cosine down to 1 % of the peak.

    Args:
        peak: float. Learning rate after the warm-up.
        total_steps: int. Optimizer steps of the whole training.
        warmup_steps: int. Defaults to `0`.
        decay_steps: sequence of int. Steps at which the rate is multiplied by `decay_factor`; not with `cosine`.
        decay_factor: float. Defaults to `0.1`.
        cosine: bool. Defaults to `False`.
    """

    def __init__(self, peak, total_steps, warmup_steps=0, decay_steps=(), decay_factor=0.1, cosine=False):
        super().__init__()
        self.peak = peak
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.decay_steps = tuple(decay_steps)
        self.decay_factor = decay_factor
        self.cosine = cosine

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rate = ops.ones_like(step)
        if self.cosine:
            progress = ops.clip((step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps), 0.0, 1.0)
            rate = 0.01 + 0.99 * 0.5 * (1 + ops.cos(math.pi * progress))
        for decay_step in self.decay_steps:
            rate = ops.where(step >= decay_step, rate * self.decay_factor, rate)
        if self.warmup_steps:
            rate = rate * ops.minimum(1.0, (step + 1) / self.warmup_steps)
        return self.peak * rate

    def get_config(self):
        return {
            "peak": self.peak,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
            "decay_steps": list(self.decay_steps),
            "decay_factor": self.decay_factor,
            "cosine": self.cosine,
        }


@keras.saving.register_keras_serializable(package="lts_keras")
class ScaledAdamW(keras.optimizers.AdamW):
    """AdamW whose steps on variables under one path prefix are multiplied; without weight decay it is Adam.

    Scaling gradients would not do: Adam divides the scale out again.

    Args:
        multiplier: float. Defaults to `1.0`.
        prefix: str. Start of the paths (`variable.path`) that the multiplier applies to. Defaults to `""`, none.
    """

    def __init__(self, *args, multiplier=1.0, prefix="", **kwargs):
        super().__init__(*args, **kwargs)
        self.multiplier = multiplier
        self.prefix = prefix

    def update_step(self, gradient, variable, learning_rate):
        """One step of Adam at the variable's own rate."""
        # TensorFlow hands over its own variable, which has no path.
        path = self._trainable_variables[self._get_variable_index(variable)].path
        if self.prefix and path.startswith(self.prefix):
            learning_rate = learning_rate * self.multiplier
        super().update_step(gradient, variable, learning_rate)

    def get_config(self):
        return super().get_config() | {"multiplier": self.multiplier, "prefix": self.prefix}


def make_optimizer(options, steps_per_epoch, backbone_multiplier=1.0, backbone_prefix=""):
    """Makes the optimizer of a training.

    Args:
        options: `TrainConfig`.
        steps_per_epoch: int.
        backbone_multiplier: float, of the learning rate of the variables under `backbone_prefix`.
        backbone_prefix: str.

    Returns:
        Keras optimizer.
    """
    cosine = options.schedule == "cosine"
    schedule = WarmupSchedule(
        options.learning_rate,
        total_steps=options.epochs * steps_per_epoch,
        warmup_steps=round(options.warmup_epochs * steps_per_epoch),
        decay_steps=() if cosine else [epoch * steps_per_epoch for epoch in options.decay_epochs],
        decay_factor=options.decay_factor,
        cosine=cosine,
    )
    return ScaledAdamW(
        schedule,
        weight_decay=options.weight_decay,
        epsilon=1e-8,
        global_clipnorm=options.clip_norm,
        use_ema=options.ema > 0,
        ema_momentum=options.ema or 0.99,
        multiplier=backbone_multiplier,
        prefix=backbone_prefix if backbone_multiplier != 1 else "",
    )
