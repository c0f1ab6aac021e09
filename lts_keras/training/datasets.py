"""The batches of a training: training data, validation data, and which photos a batch holds."""

import math
import typing
from collections.abc import Callable

import tensorflow as tf

from lts_keras.data.input.evaluation_dataset import evaluation_dataset
from lts_keras.data.input.sampling import count_samples
from lts_keras.data.input.training_dataset import training_dataset
from lts_keras.data.input.validation_dataset import validation_dataset
from lts_keras.data.text import Tokenizer
from lts_keras.training.feature_cache import FeatureCache, MemoryBudget

__all__ = ["Datasets", "batch_words", "count_steps", "make_datasets"]


class Datasets(typing.NamedTuple):
    """What training reads."""

    train: tf.data.Dataset
    """Batches `(x, y, sample_weight)`, `count_steps` of them an epoch, from `first_epoch` to the last epoch."""
    validation: tf.data.Dataset | None
    """The same elements in the same order each time, or `None`."""
    pictured: tuple | None = None
    """An element with photos, whose first samples TensorBoard shows, or `None`."""
    batch_names: Callable | None = None
    """Function `(epoch, step)` -> str, which photos and refs that batch of `train` holds; for messages."""


def count_steps(config, data_dir):
    """Batches of an epoch; the last one is filled up."""
    options = config.train
    return math.ceil(count_samples(data_dir, options.split, options.sampling) / options.batch_size)


def make_datasets(config, data_dir, model, first_epoch, progress=print):
    """Makes the data sets of a configuration.

    Args:
        config: `Config`.
        data_dir: folder of prepared data.
        model: `LTS`; gives image size, vocabulary and, with `train.cache_features`, the maps of its frozen backbone.
        first_epoch: int. Epochs that are there already.
        progress: function that takes a line of text.

    Returns:
        `Datasets`.
    """
    options = config.train
    tokenizer = Tokenizer(model.vocabulary, model.max_tokens)
    features = {split: None for split in (options.split, options.validation_split)}
    if options.cache_features:
        budget = MemoryBudget(options.max_cache_gib)
        for split in filter(None, features):
            features[split] = _cache(config, data_dir, model, tokenizer, split, budget, progress)

    def training(**arguments):
        return training_dataset(
            data_dir,
            tokenizer,
            split=options.split,
            **_square(model),
            batch_size=options.batch_size,
            sampling=options.sampling,
            expressions_per_image=options.expressions_per_image,
            augment=options.augment,
            box_supervision=options.box_supervision is not None,
            seed=config.seed,
            deterministic=True,
            repeat=True,
            **arguments,
        )

    def validation(split, **arguments):
        return validation_dataset(
            data_dir,
            tokenizer,
            split=split,
            **_square(model),
            num_replicas=model.distribute_strategy.num_replicas_in_sync,
            box_supervision=options.box_supervision is not None,
            **arguments,
        )

    held_out, shown = options.validation_split, options.validation_split or options.split
    # Few photos and few sentences of each, from which no more than some are drawn.
    pictured = next(iter(validation(shown, batch_size=4, max_expressions=16).take(1)))
    return Datasets(
        training(
            first_epoch=first_epoch,
            epochs=options.epochs,
            image_features=features[options.split],
            service=options.data_service,
        ),
        validation(held_out, batch_size=options.batch_size, image_features=features[held_out]) if held_out else None,
        pictured,
        None
        if options.data_service
        else lambda epoch, step: batch_words(training(first_epoch=epoch, epochs=epoch + 1, ids=True), step),
    )


def _square(model):
    """How photos become what the model takes."""
    return {"image_size": model.image_size, "image_resize": getattr(model, "image_resize", "letterbox")}


def _cache(config, data_dir, model, tokenizer, split, budget, progress):
    options = config.train
    photos = evaluation_dataset(data_dir, tokenizer, splits=[split], batch_size=16, **_square(model))
    return FeatureCache(
        model.backbone,
        photos,
        num_photos=count_samples(data_dir, split, "per_image"),
        flips=split == options.split and options.augment.flip > 0,
        colors=options.box_supervision is not None,
        budget=budget,
        progress=progress,
    )


def batch_words(dataset, step):
    """Photos and refs of one batch of an epoch, as words; its samples must have ids."""
    x = next(iter(dataset.skip(step).take(1)))[0]
    words = []  # a batch that was filled up, or sentences of one photo, name it once
    for key, title in (("photo_id", "photos"), ("ref_id", "refs")):
        values = dict.fromkeys(value.decode("utf-8", "replace") for value in tf.reshape(x[key], [-1]).numpy())
        words.append(f"{title} {', '.join(values)}")
    return "; ".join(words)
