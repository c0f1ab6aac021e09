"""`lts cost`: parameters, operations, memory and time of a configuration, before any of it is spent."""

import json
import tempfile
from pathlib import Path

from lts_keras.commands.commandline import add_config_arguments
from lts_keras.config.errors import ConfigError
from lts_keras.config.read import load_config
from lts_keras.utils.quiet import import_tensorflow

__all__ = ["add_cost_arguments", "show_cost"]

_PRECISIONS = ("float32", "mixed_bfloat16")
_BATCHES = (1, 3)
_GIB, _GIGA, _MEGA = 2**30, 1e9, 1e6


def add_cost_arguments(parser):
    """Adds the command's arguments to an `argparse.ArgumentParser`."""
    add_config_arguments(parser)
    parser.add_argument("--devices", type=int, default=1, metavar="N", help="devices that share a batch")
    parser.add_argument(
        "--images-per-second",
        type=float,
        metavar="X",
        help="samples trained in a second, all devices together (default: measured here, on one processor)",
    )
    parser.add_argument("--workdir", type=Path, metavar="DIR", help="counts from the data prepared there")
    parser.add_argument("--no-measuring", action="store_true", help="run no step: no memory, and hours only by X")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--verbose", action="store_true", help="show the traceback of a failure")


def show_cost(options):
    """Prints the cost of a configuration.

    Args:
        options: namespace with the arguments of `add_cost_arguments`.

    Returns:
        dict, what `--json` prints.

    Raises:
        ConfigError: a wrong configuration, number of devices or throughput.
        DataError: no prepared data in the work directory.
        TrainingError: the measured step failed.
    """
    config = load_config(options.config, options.overrides)
    _check(options, config)
    import_tensorflow()
    from lts_keras.models.cost import count_flops, count_parameters
    from lts_keras.models.from_config import build_model
    from lts_keras.training.cost import MEMORY_RULES, plan_memory, plan_steps
    from lts_keras.training.measured_step import measure_step
    from lts_keras.utils.imports import import_modules

    counts = _prepared_counts(config, options.workdir) if options.workdir else None
    import_modules(config.imports)
    model = build_model(config, None)
    cost = {
        "config": str(options.config),
        "variant": config.model.variant,
        "guesses": _guesses(config),
        "image_size": config.model.image_size,
        "max_tokens": config.model.max_tokens,
        "parameters": count_parameters(model),
        "flops": count_flops(model, config.model.image_size, config.model.max_tokens),
        "devices": options.devices,
        "memory": {},
        "memory_rules": list(MEMORY_RULES),
    }
    speed, origin = options.images_per_second, "given"
    if not options.no_measuring:
        with tempfile.TemporaryDirectory() as folder:
            for precision in dict.fromkeys((config.train.precision, *_PRECISIONS)):
                measured = measure_step(config, folder, precision, _BATCHES)
                sizes = _batch_sizes(config.train.batch_size, options.devices)
                cost["memory"][precision] = {
                    str(size): plan_memory(measured, _BATCHES, size, options.devices) for size in sizes
                }
                if speed is None and precision == config.train.precision:
                    speed, origin = _BATCHES[1] / measured["seconds"][1], "measured here, on one processor"
    cost["images_per_second"], cost["throughput"] = speed, origin if speed else "not known"
    cost["training"] = plan_steps(config, counts, speed)
    print(json.dumps(cost) if options.json else "\n".join(_lines(cost)))
    return cost


def _check(options, config):
    if options.devices < 1:
        raise ConfigError(f"--devices must be at least 1. Received: {options.devices}")
    if options.images_per_second is not None and not options.images_per_second > 0:
        raise ConfigError(f"--images-per-second must be above 0. Received: {options.images_per_second:g}")
    if config.train.batch_size % options.devices:
        near = max(1, round(config.train.batch_size / options.devices)) * options.devices
        raise ConfigError(
            f"train.batch_size must divide by --devices {options.devices}; {near} would. "
            f"Received: {config.train.batch_size}"
        )


def _batch_sizes(batch_size, devices):
    """The configured batch, half and double of it, as far as they can be shared out."""
    return sorted({size for size in (batch_size // 2, batch_size, 2 * batch_size) if size and size % devices == 0})


def _prepared_counts(config, workdir):
    from lts_keras.data.input.sampling import MODES, count_samples
    from lts_keras.data.prepare.folder import data_folder

    folder = data_folder(config, workdir.absolute())
    return tuple(count_samples(folder, config.train.split, mode) for mode in MODES)


def _guesses(config):
    """What of the configuration is not in the paper."""
    if not (config.model.variant or "").startswith("table7"):
        return []
    return [
        f"table 7 says neither how many filters nor how many pixels: num_filters {config.model.num_filters} and "
        f"image_size {config.model.image_size} are a guess"
    ]


def _lines(cost):
    boxes = cost["parameters"]
    yield f"# {cost['config']}: {cost['variant'] or 'own model'}, {cost['image_size']} x {cost['image_size']}"
    yield from (f"guess: {guess}" for guess in cost["guesses"])
    yield "\nparameters (millions)       trainable    frozen"
    for name, found in boxes.items():
        yield f"  {name:<24}{found['trainable'] / _MEGA:>11.3f}{found['frozen'] / _MEGA:>10.3f}"
    sums = [sum(found[key] for found in boxes.values()) / _MEGA for key in ("trainable", "frozen")]
    yield f"  {'all':<24}{sums[0]:>11.3f}{sums[1]:>10.3f}"
    yield f"\nGFLOP, one image and one sentence of {cost['max_tokens']} words (2 x multiply-adds)"
    yield f"  {'':<24}{'of an image':>12}{'of a sentence':>15}{'literal form':>14}"
    for name, found in cost["flops"].items():
        yield _flops_line(name, found)
    keys = ("image", "sentence", "literal")
    yield _flops_line("all", {key: sum(found[key] for found in cost["flops"].values()) for key in keys})
    yield "  literal: image and sentence together as the equations say it; the form that runs gives the same numbers"
    yield from _memory_lines(cost)
    yield from _training_lines(cost)


def _flops_line(name, found):
    image, sentence, literal = (found[key] / _GIGA for key in ("image", "sentence", "literal"))
    return f"  {name:<24}{image:>12.2f}{sentence:>15.3f}{literal:>14.2f}"


def _memory_lines(cost):
    if not cost["memory"]:
        yield "\nmemory: not measured"
        return
    yield f"\nmemory of each of {cost['devices']} device(s) in GiB, measured on this machine's step and scaled"
    yield f"  {'':<16}{'batch':>6}{'weights':>9}{'gradients':>11}{'slots':>8}{'activations':>13}{'rest':>7}{'total':>8}"
    for precision, sizes in cost["memory"].items():
        for size, found in sizes.items():
            numbers = [found[key] / _GIB for key in ("weights", "gradients", "slots", "activations", "rest", "total")]
            widths = (9, 11, 8, 13, 7, 8)
            cells = "".join(f"{number:>{width}.2f}" for number, width in zip(numbers, widths, strict=True))
            yield f"  {precision:<16}{size:>6}{cells}"
    yield from (f"  rule: {rule}" for rule in cost["memory_rules"])


def _training_lines(cost):
    plan, speed = cost["training"], cost["images_per_second"]
    yield f"\ntraining ({plan['sampling']})"
    if plan["samples"] is None:
        yield "  samples: not known; --workdir DIR takes them from prepared data"
    else:
        yield f"  {plan['samples']} samples an epoch ({plan['from']}), batch {plan['batch_size']}"
        yield f"  {plan['steps_per_epoch']} steps an epoch, {plan['steps']} in {plan['epochs']} epochs"
        yield f"  {plan['images']} images in all"
    if speed is None:
        yield "  time: not known; give --images-per-second X"
    elif plan["samples"]:
        rate = f"{speed:.2f} images a second ({cost['throughput']})"
        yield f"  {plan['hours']:.1f} hours at {rate}, validation not counted"
    else:
        yield f"  {speed:.2f} images a second ({cost['throughput']})"
