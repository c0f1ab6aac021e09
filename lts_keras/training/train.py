"""Training: `model.fit` under MirroredStrategy, resumable, on prepared data."""

import contextlib
import json
import math
import shutil
from pathlib import Path

import keras
import tensorflow as tf

from lts_keras.config.errors import ConfigError
from lts_keras.config.read import dump_config
from lts_keras.data.input.evaluation_dataset import evaluation_dataset
from lts_keras.data.input.sampling import count_samples
from lts_keras.data.input.training_dataset import training_dataset
from lts_keras.data.text import Tokenizer, read_vocabulary
from lts_keras.losses import lts_losses
from lts_keras.metrics import lts_metrics
from lts_keras.models.from_config import model_from_config
from lts_keras.training.callbacks import Backup, EpochLines, FiniteLoss, ProcessorTimeLimit
from lts_keras.training.feature_cache import FeatureCache
from lts_keras.training.optimizers import make_optimizer
from lts_keras.utils.files import atomic_write, digest

__all__ = ["compile_model", "make_strategy", "train"]


def train(config, workdir, progress=print):
    """Trains the model of a configuration; started again after a kill it goes on behind the last whole epoch.

    Args:
        config: `Config`.
        workdir: folder with `data/`, as `lts prepare` leaves it. `train/preset/`, `train/logs/` (TensorBoard),
            `train/history.json` and `train/config.yaml` are written there.
        progress: function that takes a line of text.

    Returns:
        `Path` of the preset.

    Raises:
        DataError: no prepared data.
        ConfigError: settings that this machine cannot serve.
        TrainingError: a loss that is not finite.
    """
    workdir, options = Path(workdir), config.train
    if config.model.refiner_channels:
        raise ConfigError(
            "model.refiner_channels: a refiner trains on another model's features, which prepared data does not have; "
            "see docs/training.md for model.fit on your own"
        )
    folder, data_dir = workdir / "train", workdir / "data"
    num_samples = count_samples(data_dir, options.split, options.sampling)
    vocabulary = read_vocabulary(data_dir / "vocabulary.txt")
    resolved = f"{dump_config(config)}# data: {digest(data_dir / 'manifest.json')}\n"
    _forget_other_run(folder, resolved, progress)
    atomic_write(folder / "config.yaml", resolved)
    steps = math.ceil(num_samples / options.batch_size)
    # Not 0: with the global seed 0, TensorFlow compares a data set's seed with 0 in Python, also where it is a tensor.
    keras.utils.set_random_seed(config.seed + 1)
    strategy = make_strategy(options.num_devices)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(options.precision)
    try:
        with strategy.scope():
            model = model_from_config(config, vocabulary, progress)
            compile_model(model, config, steps)
    finally:
        keras.config.set_dtype_policy(policy)
    backup = Backup(folder / "backup")
    with strategy.scope():
        first_epoch = backup.restore(model)
    if first_epoch:
        progress(f"going on behind epoch {first_epoch} of {options.epochs}")
    train_set, validation_set = _datasets(config, data_dir, model, first_epoch, progress)
    progress(
        f"training on {num_samples} samples an epoch ({options.sampling}), {steps} steps, {options.epochs} epochs, "
        f"{strategy.num_replicas_in_sync} replica(s), {_count(model.trainable_variables):,} trainable parameters"
    )
    history = model.fit(
        train_set,
        epochs=options.epochs,
        initial_epoch=first_epoch,
        steps_per_epoch=steps,
        validation_data=validation_set,
        # The backup comes first: an epoch whose line is printed is one that a kill does not undo.
        callbacks=[backup, *_callbacks(config, folder, progress)],
        shuffle=False,
        verbose=0,
    )
    model.save_to_preset(folder / "preset")
    values = {name: [float(value) for value in column] for name, column in history.history.items()}
    atomic_write(folder / "history.json", json.dumps({"epoch": history.epoch, **values}, indent=1))
    backup.remove()
    return folder / "preset"


def make_strategy(num_devices=None):
    """MirroredStrategy over all GPUs (NCCL), or over `num_devices` GPUs or, without a GPU, logical CPU devices.

    Raises:
        ConfigError: if the machine has fewer devices.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus and (num_devices or 1) > 1:
        # Several replicas on one processor are for tests; TensorFlow can split it only before its first use.
        with contextlib.suppress(RuntimeError):
            parts = [tf.config.LogicalDeviceConfiguration()] * num_devices
            tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
    kind = "GPU" if gpus else "CPU"
    devices = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices(kind)]
    wanted = num_devices or (len(devices) if gpus else 1)
    if wanted > len(devices):
        raise ConfigError(f"train.num_devices: this process has {len(devices)} {kind} device(s). Received: {wanted}")
    return tf.distribute.MirroredStrategy([f"/{device}" for device in devices[:wanted]])


def compile_model(model, config, steps_per_epoch):
    """Compiles with the paper's losses, all metrics and the configured optimizer."""
    optimizer = make_optimizer(
        config.train,
        steps_per_epoch,
        backbone_multiplier=config.model.backbone_learning_rate_multiplier,
        backbone_prefix=f"{model.backbone.name}/",
    )
    losses = lts_losses(config.train.location_weight, config.train.loss_reduction)
    # "auto" turns XLA off under every strategy; saying so keeps Keras from probing.
    model.compile(optimizer=optimizer, weighted_metrics=lts_metrics(model.threshold), jit_compile=False, **losses)


def _datasets(config, data_dir, model, first_epoch, progress):
    options = config.train
    tokenizer = Tokenizer(model.vocabulary, model.max_tokens)
    common = {"image_size": model.image_size, "batch_size": options.batch_size}
    features = {}
    for split in filter(None, (options.split, options.validation_split)):
        features[split] = None
        if options.cache_features:
            photos = evaluation_dataset(data_dir, tokenizer, splits=[split], image_size=model.image_size, batch_size=16)
            features[split] = FeatureCache(
                model.backbone,
                photos,
                num_photos=count_samples(data_dir, split, "per_image"),
                flips=split == options.split and options.augment.flip > 0,
                max_gib=options.max_cache_gib,
                progress=progress,
            )
    train_set = training_dataset(
        data_dir,
        tokenizer,
        split=options.split,
        sampling=options.sampling,
        expressions_per_image=options.expressions_per_image,
        augment=options.augment,
        seed=config.seed,
        deterministic=True,
        repeat=True,
        first_epoch=first_epoch,
        image_features=features[options.split],
        service=options.data_service,
        **common,
    )
    validation_set = None
    if options.validation_split:
        sampling = "per_image" if options.sampling == "per_image" else "per_expression"
        validation_set = training_dataset(
            data_dir,
            tokenizer,
            split=options.validation_split,
            sampling=sampling,
            expressions_per_image=options.expressions_per_image,
            shuffle=False,
            deterministic=True,
            image_features=features[options.validation_split],
            **common,
        )
        # Without its length, Keras takes the end of the data for a mistake.
        num_batches = math.ceil(count_samples(data_dir, options.validation_split, sampling) / options.batch_size)
        validation_set = validation_set.apply(tf.data.experimental.assert_cardinality(num_batches))
    return train_set, validation_set


def _callbacks(config, folder, progress):
    options = config.train
    callbacks = [
        FiniteLoss(),
        keras.callbacks.TensorBoard(folder / "logs", profile_batch=0, write_graph=False),
        EpochLines(options.epochs, progress),
    ]
    if options.max_minutes:
        callbacks.append(ProcessorTimeLimit(options.max_minutes, progress))
    if options.ema:
        # Validation and the preset use the averaged weights; training goes on with its own.
        callbacks.append(keras.callbacks.SwapEMAWeights(swap_on_epoch=False))
    return callbacks


def _forget_other_run(folder, resolved, progress):
    """A backup of other settings or data is of no use: going on from it would mix two trainings."""
    before = folder / "config.yaml"
    if (folder / "backup").exists() and (not before.exists() or before.read_text(encoding="utf-8") != resolved):
        progress("settings or data changed since the last, unfinished training: starting anew")
        shutil.rmtree(folder / "backup")


def _count(variables):
    return sum(math.prod(variable.shape) for variable in variables)
