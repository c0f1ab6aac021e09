"""Optimizers and learning-rate schedules as the configuration names them, the same on any number of replicas."""

import math

import keras
import tensorflow as tf
from keras import ops

from lts_keras.adam import Adam

__all__ = ["OPTIMIZERS", "ScaledAdam", "WarmupSchedule", "make_optimizer"]

_LOWEST_SHARE = 0.01
"""What is left of the learning rate at the end of a falling schedule."""


@keras.saving.register_keras_serializable(package="lts_keras")
class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then steps (the paper's: x0.1 at epoch 30), or a half cosine or a line down to 1 % of the peak.

    Args:
        peak: float. Learning rate after the warm-up.
        total_steps: int. Optimizer steps of the whole training.
        warmup_steps: int. Defaults to `0`.
        decay_steps: sequence of int. Steps at which the rate is multiplied by `decay_factor`.
        decay_factor: float. Defaults to `0.1`.
        shape: `"steps"`, `"cosine"`, `"linear"` or `"constant"`. `decay_steps` counts with `"steps"` alone. Defaults to
            `"steps"`.
    """

    def __init__(self, peak, total_steps, warmup_steps=0, decay_steps=(), decay_factor=0.1, shape="steps"):
        super().__init__()
        if shape not in ("steps", "cosine", "linear", "constant"):
            raise ValueError(f"shape must be 'steps', 'cosine', 'linear' or 'constant'. Received: {shape!r}")
        self.peak = peak
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.decay_steps = tuple(decay_steps)
        self.decay_factor = decay_factor
        self.shape = shape

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rate = ops.ones_like(step)
        progress = ops.clip((step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps), 0.0, 1.0)
        if self.shape == "cosine":
            rate = _LOWEST_SHARE + (1 - _LOWEST_SHARE) * 0.5 * (1 + ops.cos(math.pi * progress))
        elif self.shape == "linear":
            rate = 1 - (1 - _LOWEST_SHARE) * progress
        for decay_step in self.decay_steps if self.shape == "steps" else ():
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
            "shape": self.shape,
        }


class _Scaled:
    """What every optimizer here adds to Keras' own: rates of single variables, and clipping behind the replicas' sum.

    Keras clips each replica's gradients before it sums them, so that N replicas clip N times looser. Scaling gradients
    would not do for rates: Adam divides the scale out again.

    Args:
        multipliers: sequence of float, a factor of the learning rate for each variable in the order of
            `model.trainable_variables`; `None`: 1 for all.
        decays: sequence of bool, whether weight decay acts on each of them; `None`: on all.
    """

    def __init__(self, *args, multipliers=None, decays=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.multipliers = None if multipliers is None else [float(value) for value in multipliers]
        self.decays = None if decays is None else [bool(value) for value in decays]

    def build(self, variables):
        """Makes the optimizer's variables.

        Raises:
            ValueError: if `multipliers` or `decays` are for another number of variables.
        """
        for name in ("multipliers", "decays"):
            values = getattr(self, name)
            if values is not None and len(values) != len(variables):
                raise ValueError(
                    f"{name} must hold one value for each of {len(variables)} variables. Received: {len(values)}"
                )
        super().build(variables)

    def update_step(self, gradient, variable, learning_rate):
        """One step of the optimizer at the variable's own rate, behind its weight decay."""
        index = self._get_variable_index(variable)
        if self.multipliers is not None:
            learning_rate = learning_rate * self.multipliers[index]
        if self.weight_decay and (self.decays is None or self.decays[index]):
            decay = ops.cast(learning_rate * self.weight_decay, variable.dtype)
            self.assign_sub(variable, ops.convert_to_tensor(variable) * decay)
        super().update_step(gradient, variable, learning_rate)

    def _apply_weight_decay(self, variables):
        """Nothing here: `update_step` does it, at the variable's own rate."""

    def _clip_gradients(self, grads):
        """Nothing here: `_all_reduce_sum_gradients` does it, behind the sum."""
        return grads

    def _all_reduce_sum_gradients(self, grads_and_vars):
        reduced = super()._all_reduce_sum_gradients(grads_and_vars)
        if not (self.clipnorm or self.global_clipnorm or self.clipvalue):
            return reduced
        # Rows of an embedding that several words share stand apart in a sparse gradient, which would hide their sum.
        gradients = [None if gradient is None else tf.convert_to_tensor(gradient) for gradient, _ in reduced]
        clipped = super()._clip_gradients(gradients)
        return [(gradient, variable) for gradient, (_, variable) in zip(clipped, reduced, strict=True)]

    def get_config(self):
        return super().get_config() | {"multipliers": self.multipliers, "decays": self.decays}


@keras.saving.register_keras_serializable(package="lts_keras")
class ScaledAdam(_Scaled, Adam):
    """Adam; with `weight_decay`, AdamW. Further arguments: `multipliers`, `decays`, one value for each variable."""


@keras.saving.register_keras_serializable(package="lts_keras")
class ScaledSGD(_Scaled, keras.optimizers.SGD):
    """SGD; further arguments as `ScaledAdam`."""


@keras.saving.register_keras_serializable(package="lts_keras")
class ScaledRMSprop(_Scaled, keras.optimizers.RMSprop):
    """RMSprop; further arguments as `ScaledAdam`."""


@keras.saving.register_keras_serializable(package="lts_keras")
class ScaledLion(_Scaled, keras.optimizers.Lion):
    """Lion; further arguments as `ScaledAdam`."""


OPTIMIZERS = {
    "adam": (ScaledAdam, {"epsilon": 1e-8}),
    "sgd": (ScaledSGD, {"momentum": 0.9, "nesterov": True}),
    "rmsprop": (ScaledRMSprop, {}),
    "lion": (ScaledLion, {}),
}
"""Class and further arguments by the name that `train.optimizer` has."""


def make_optimizer(options, steps_per_epoch, model=None, backbone_multiplier=1.0):
    """Makes the optimizer of a training.

    Args:
        options: `TrainConfig`.
        steps_per_epoch: int.
        model: the `keras.Model` that will be trained; gives the variables that rates and weight decay go by.
        backbone_multiplier: float, of the learning rate of the variables of `model.backbone`.

    Returns:
        Keras optimizer.
    """
    schedule = WarmupSchedule(
        options.learning_rate,
        # Keras counts a step for every batch, also where gradients are accumulated.
        total_steps=options.epochs * steps_per_epoch,
        warmup_steps=round(options.warmup_epochs * steps_per_epoch),
        decay_steps=[epoch * steps_per_epoch for epoch in options.decay_epochs],
        decay_factor=options.decay_factor,
        shape=options.schedule,
    )
    cls, arguments = OPTIMIZERS[options.optimizer]
    multipliers, decays = _by_variable(model, backbone_multiplier) if model is not None else (None, None)
    return cls(
        schedule,
        weight_decay=options.weight_decay or None,
        global_clipnorm=options.clip_norm,
        use_ema=options.ema > 0,
        ema_momentum=options.ema or 0.99,
        gradient_accumulation_steps=options.accumulation_steps if options.accumulation_steps > 1 else None,
        multipliers=multipliers,
        decays=decays if options.weight_decay else None,
        **arguments,
    )


def _by_variable(model, backbone_multiplier):
    """Rates and decays of a model's trainable variables, told apart by the variables themselves and not by names."""
    offsets = {
        id(getattr(layer, name))
        for layer in model._flatten_layers()
        for name in ("gamma", "beta", "bias")
        if isinstance(getattr(layer, name, None), keras.Variable)
    }
    variables = model.trainable_variables
    decays = [id(variable) not in offsets and len(variable.shape) > 1 for variable in variables]
    if backbone_multiplier == 1:
        return None, decays
    backbone = {id(variable) for variable in model.backbone.trainable_variables}
    return [backbone_multiplier if id(variable) in backbone else 1.0 for variable in variables], decays
