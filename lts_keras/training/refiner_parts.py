"""The parts of a training that a refiner (table 3) has of its own: data sets of features, and one loss."""

import contextlib

from lts_keras.data.features.configured import configured_features
from lts_keras.data.input.feature_dataset import (
    check_sentences,
    data_errors,
    feature_dataset,
    feature_validation_dataset,
)
from lts_keras.losses import SummedBinaryCrossentropy
from lts_keras.metrics import MeanIoU, OverallIoU, PrecisionAt
from lts_keras.training.datasets import Datasets, batch_words
from lts_keras.training.loss_scale import decide_together
from lts_keras.training.optimizers import make_optimizer
from lts_keras.training.parts import Parts

__all__ = ["compile_refiner", "default_parts", "reading_errors", "refiner_datasets"]


def default_parts(config):
    """`Parts` of an `LTS`, or of a `Refiner` where the configuration has `model.refiner_channels`."""
    if not config.model.refiner_channels:
        return Parts()
    return Parts(compile_model=compile_refiner, make_datasets=refiner_datasets)


def reading_errors(config):
    """A context in which what is wrong in a file of features comes out of TensorFlow as a `DataError`."""
    return data_errors() if config.model.refiner_channels else contextlib.nullcontext()


def compile_refiner(model, config, steps_per_epoch):
    """Compiles with equation 11 alone (the other model's mask is not trained), the mask's metrics and the optimizer.

    Args:
        model: `Refiner`.
        config: `Config`.
        steps_per_epoch: int.
    """
    # Keras names no metric by its output where there is one output alone; the history is to read as an LTS's.
    metrics = [
        MeanIoU(model.threshold, name="mask_mean_iou"),
        OverallIoU(model.threshold, name="mask_overall_iou"),
        PrecisionAt(50, model.threshold, name="mask_precision_at_50"),
    ]
    model.compile(
        optimizer=make_optimizer(config.train, steps_per_epoch, model),
        loss={"mask": SummedBinaryCrossentropy(config.train.loss_reduction, name="mask")},
        weighted_metrics={"mask": metrics},
        jit_compile=config.train.jit_compile,
    )
    decide_together(model.optimizer)


def refiner_datasets(config, data_dir, model, first_epoch, progress=print):
    """Makes the data sets of a refiner's configuration; as `make_datasets`.

    Raises:
        DataError: a sentence without a file, or a file of a sentence that the prepared data does not have.
    """
    options, features = config.train, configured_features(config)
    held_out = options.validation_split
    check_sentences(data_dir, features, [options.split, *filter(None, [held_out])])
    progress(f"features of {len(features.files)} sentences in {features.folder}, digest {features.digest[:12]}")

    def training(**arguments):
        return feature_dataset(
            data_dir,
            features,
            split=options.split,
            sampling=options.sampling,
            batch_size=options.batch_size,
            seed=config.seed,
            deterministic=True,
            repeat=True,
            **arguments,
        )

    return Datasets(
        training(first_epoch=first_epoch, epochs=options.epochs),
        feature_validation_dataset(data_dir, features, split=held_out, batch_size=options.batch_size)
        if held_out
        else None,
        batch_names=lambda epoch, step: batch_words(training(first_epoch=epoch, epochs=epoch + 1, ids=True), step),
    )
