"""Puts the PyTorch model's weights into `LTS` and holds the two models' numbers against each other."""

import re
import tempfile
from pathlib import Path

import numpy as np

INFERENCE = ("c3", "c4", "c5", "sentence", "fused", "prior", "mask", "loss.segmentation", "loss.location", "loss")
TRAINING = ("prior", "mask", "loss.segmentation", "loss.location", "loss")
LOCATION_WEIGHT = 0.1
DIFFERENCE_TARGET = 1e-4

# Part of a variable's path here -> part of the array's name there. All else is the same but for `/` and `.`.
_RENAMED = (
    (r"^(?!lts/)", "backbone."),
    (r"^lts/", ""),
    (r"(forward|backward)_gru/gru_cell/", r"gru.\1."),
    (r"(stages|residuals|extra|projections|dilated)_(\d+)[_/]", r"\1.\2."),
    (r"(residuals)_(\d+)_", r"\1.\2."),
    (r"/", "."),
)


def peer_name(path):
    """Name of the PyTorch model's array for a variable of `LTS`, given by its path; `None` for random seeds."""
    if "seed_generator" in path:
        return None
    for pattern, replacement in _RENAMED:
        path = re.sub(pattern, replacement, path)
    return path


def named_variables(model):
    """Returns `{name of the PyTorch model's array: variable}` for all weights of an `LTS`."""
    named = {peer_name(variable.path): variable for variable in model.variables}
    named.pop(None, None)
    return named


def load_arrays(model, arrays):
    """Copies `{name: array}` into an `LTS`.

    Raises:
        ValueError: naming the arrays that are missing, unknown or misshapen.
    """
    variables = named_variables(model)
    problems = [f"missing {name}" for name in variables if name not in arrays]
    problems += [f"unknown {name}" for name in arrays if name not in variables]
    problems += [
        f"{name} has shape {tuple(variable.shape)} here and {arrays[name].shape} there"
        for name, variable in variables.items()
        if name in arrays and tuple(variable.shape) != arrays[name].shape
    ]
    if problems:
        raise ValueError(f"{len(problems)} arrays do not fit: {'; '.join(problems[:10])}")
    for name, variable in variables.items():
        variable.assign(arrays[name])


def infer(model, arrays):
    """Features, logits and losses of an `LTS` in inference mode.

    Args:
        model: `LTS`.
        arrays: dict of `image`, `token_ids` and `target`, channels last, as the PyTorch program writes them.

    Returns:
        dict of float32 arrays under the PyTorch program's names.
    """
    maps = model.backbone(arrays["image"], training=False)
    sentence, _ = model.sentence_encoder(arrays["token_ids"], training=False)
    outputs = model({"image": arrays["image"], "token_ids": arrays["token_ids"]}, training=False)
    values = maps | outputs | _losses(outputs, arrays["target"])
    values |= {"sentence": sentence, "fused": model.fusion(maps, sentence, training=False)}
    return {name: np.asarray(values[name]) for name in INFERENCE}


def train_step(model, arrays):
    """Logits, losses and gradients of an `LTS` in training mode, with the batch's statistics everywhere.

    Returns:
        dict of float32 arrays; gradients are called `gradient.<name>`.
    """
    import tensorflow as tf

    variables = {name: variable for name, variable in named_variables(model).items() if variable.trainable}
    with tf.GradientTape() as tape:
        outputs = model({"image": arrays["image"], "token_ids": arrays["token_ids"]}, training=True)
        values = outputs | _losses(outputs, arrays["target"])
    gradients = tape.gradient(values["loss"], [variable.value for variable in variables.values()])
    result = {name: np.asarray(values[name]) for name in TRAINING}
    for name, gradient in zip(variables, gradients, strict=True):
        result[f"gradient.{name}"] = np.asarray(tf.convert_to_tensor(gradient))
    return result


def relative_difference(ours, theirs):
    """Largest difference of two arrays, in parts of the largest value."""
    if ours.shape != theirs.shape:
        raise ValueError(f"shapes {ours.shape} here and {theirs.shape} there")
    return float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), np.finfo("float32").tiny))


def _losses(outputs, mask):
    """Equations 11-13 through the library's own losses; the mask is at the image's size."""
    from lts_keras.losses import lts_losses

    terms = lts_losses(LOCATION_WEIGHT)["loss"]
    values = {name: terms[name](_shrink(mask, outputs[name].shape[1]), outputs[name]) for name in ("mask", "prior")}
    total = values["mask"] + LOCATION_WEIGHT * values["prior"]
    return {"loss.segmentation": values["mask"], "loss.location": values["prior"], "loss": total}


def _shrink(mask, size):
    """Mean over the area of each cell, then 1 where it is at least 0.5."""
    stride = mask.shape[1] // size
    cells = mask.reshape(len(mask), size, stride, mask.shape[2] // stride, stride, 1)
    return (cells.mean(axis=(2, 4)) >= 0.5).astype("float32")


def compare(args, run_peer):
    """Prints and returns the largest relative differences in inference, and in one training step's losses.

    Args:
        args: with `size`, `batch` and `locator`.
        run_peer: function that runs compare.py with the arguments that it is given.

    Returns:
        dict of the two differences.
    """
    from lts_keras.models.variants import make_lts

    def theirs(values, *flags):
        np.savez(inputs, **values)
        run_peer("run", weights, inputs, outputs, *flags, *option)
        return read(outputs)

    with tempfile.TemporaryDirectory() as folder:
        weights, inputs, outputs = (Path(folder) / f"{name}.npz" for name in ("weights", "inputs", "outputs"))
        option = ["--locator", args.locator]
        run_peer("init", weights, inputs, "--size", args.size, "--batch", args.batch, *option)
        model = make_lts(locator=args.locator, trainable_backbone="all", dropout=0.0)
        load_arrays(model, read(weights))
        values, result = read(inputs), {}
        for mode, ours, names, flags in (
            ("inference", infer, INFERENCE, ()),
            ("training", train_step, TRAINING, ("--training",)),
        ):
            expected, mine = theirs(values, *flags), ours(model, values)
            differences = {name: relative_difference(mine[name], expected[name]) for name in names}
            print(f"{mode}: " + ", ".join(f"{name} {value:.1e}" for name, value in differences.items()), flush=True)
            judged = {name: value for name, value in differences.items() if mode == "inference" or "loss" in name}
            result["inference" if mode == "inference" else "training losses"] = max(judged.values())
        noise = 1 + 1e-6 * np.random.default_rng(0).normal(size=values["image"].shape)
        moved = theirs(values | {"image": (values["image"] * noise).astype("float32")}, "--training")
    report_gradients(mine, expected, moved)
    for name, value in result.items():
        print(f"largest relative difference, {name}: {value:.1e} (target: at most {DIFFERENCE_TARGET:.0e})")
    return result


def report_gradients(mine, expected, moved):
    """Prints how far gradients are apart, and how far rounding alone moves them in a network of so many LeakyReLUs."""
    names = [name for name in mine if name.startswith("gradient.")]
    for text, arrays in (("to PyTorch's", mine), ("of PyTorch's own when the image moves by 1e-6", moved)):
        norms = [np.linalg.norm(arrays[name] - expected[name]) / np.linalg.norm(expected[name]) for name in names]
        print(
            f"gradients of {len(names)} variables, relative distance (2-norm) {text}: "
            f"median {np.median(norms):.1e}, largest {max(norms):.1e}"
        )


def read(path):
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
