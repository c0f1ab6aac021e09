"""What a training costs: samples, steps, hours, and memory scaled from a measured step by stated rules."""

import math

from lts_keras.config.errors import ConfigError
from lts_keras.data.checks.check import PUBLISHED

__all__ = ["MEMORY_RULES", "plan_memory", "plan_steps"]

MEMORY_RULES = (
    "weights, gradients and optimizer slots are counted from the variables: float32 in every precision, whole on each "
    "device",
    "activations of a sample = (peak of the larger batch - peak of the smaller) / (difference of the batches), "
    "measured on this processor; they grow with a device's share of the batch",
    "the rest = peak of the smaller batch - all of the above: TensorFlow itself and scratch space. A GPU has its own "
    "(about 0.5 to 1 GiB, more for cuDNN's workspaces), so leave a quarter of its memory free",
    "mixed_float16 needs what mixed_bfloat16 needs: both keep activations in 16 bits",
)


def plan_steps(config, counts=None, images_per_second=None):
    """Samples, steps and hours of all epochs.

    Args:
        config: `Config`.
        counts: `(refs, expressions, photos)` of the train split, from prepared data; `None`: the published counts of
            the configuration's sources, where there are any. Any may be `None`.
        images_per_second: float, samples in a second, all devices together; `None`: not known.

    Returns:
        dict `samples`, `from`, `epochs`, `steps_per_epoch`, `steps`, `hours`; `None` for what is not known.
    """
    origin = "prepared data"
    if counts is None:
        counts, origin = _published(config), "published counts"
    place = {"per_ref": 0, "per_expression": 1, "per_image": 2}[config.train.sampling]
    samples = counts[place] if counts else None
    options = config.train
    plan = {"sampling": options.sampling, "samples": samples, "from": origin if samples else None}
    plan |= {"batch_size": options.batch_size, "epochs": options.epochs}
    if samples is None:
        return plan | {"steps_per_epoch": None, "steps": None, "hours": None}
    steps = math.ceil(samples / options.batch_size)
    # The last batch of an epoch is filled up.
    images = steps * options.batch_size * options.epochs
    hours = images / images_per_second / 3600 if images_per_second else None
    return plan | {"steps_per_epoch": steps, "steps": steps * options.epochs, "images": images, "hours": hours}


def plan_memory(measured, batch_sizes, batch_size, num_devices):
    """Memory of a device while it trains, after `MEMORY_RULES`.

    Args:
        measured: dict that `measure_step` gives.
        batch_sizes: its two batches.
        batch_size: int, the global batch.
        num_devices: int.

    Returns:
        dict of bytes: `weights`, `gradients`, `slots`, `activations_per_sample`, `activations`, `rest` and `total`.

    Raises:
        ConfigError: the batch cannot be shared out.
    """
    if batch_size % num_devices:
        raise ConfigError(
            f"train.batch_size must divide by the number of devices, {num_devices}. Received: {batch_size}"
        )
    one, other = measured["peaks"]
    each = max(0, (other - one) / (batch_sizes[1] - batch_sizes[0]))
    counted = measured["weights"] + measured["gradients"] + measured["slots"]
    rest = max(0, one - counted - each * batch_sizes[0])
    share = batch_size // num_devices
    return {
        "weights": measured["weights"],
        "gradients": measured["gradients"],
        "slots": measured["slots"],
        "activations_per_sample": each,
        "activations": each * share,
        "rest": rest,
        "total": counted + each * share + rest,
    }


def _published(config):
    """`(refs, expressions, None)` of the train split, or `None` where a source is not a published one."""
    total = [0, 0]
    for source in config.data.sources:
        key = f"{getattr(source, 'dataset', None)}/{getattr(source, 'split_by', None)}"
        counts = PUBLISHED.get(key, {}).get(config.train.split)
        if source.kind != "refer" or counts is None:
            return None
        total = [None if None in pair else sum(pair) for pair in zip(total, counts, strict=True)]
    return (*total, None)
