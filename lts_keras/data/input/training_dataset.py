"""Batches for training, read from the records of `lts prepare`. Graph operations alone.

A photo is decoded once for all of its samples: a record becomes one small uint8 picture and its targets, which several
samples then share in memory. What waits to be shuffled is small, so memory is bounded whatever the data's size: records
as they lie on disk (undecoded), and samples that point to shared pictures.
"""

import dataclasses

import tensorflow as tf

from lts_keras.config.schema import AugmentConfig
from lts_keras.data.input.options import pipeline_options
from lts_keras.data.input.sampling import MODES, count_samples
from lts_keras.data.input.stages import Stages
from lts_keras.data.prepare import records
from lts_keras.data.schema import DataError

__all__ = ["training_dataset"]

_OPEN_SHARDS = 8
_RECORDS_BUFFER = 512
_SAMPLES_BUFFER = 256
_FILLING = 500_009
"""Added to the seed of an epoch for the samples that fill its last batch."""


def training_dataset(
    data_dir,
    tokenizer,
    *,
    split="train",
    image_size=416,
    image_resize="letterbox",
    batch_size=18,
    sampling="per_ref",
    expressions_per_image=1,
    augment=None,
    shuffle=True,
    seed=0,
    deterministic=False,
    drop_remainder=False,
    fill_remainder=None,
    repeat=False,
    first_epoch=0,
    epochs=None,
    ids=False,
    input_context=None,
    image_features=None,
    box_supervision=False,
    num_workers=None,
    service=None,
    stages=None,
):
    """Batches of one split for `model.fit`.

    An epoch holds one sample for each referred object (`per_ref`, a random one of its expressions), for each expression
    (`per_expression`), or for each photo (`per_image`, with up to K random ones of its expressions). Photos are
    shuffled among 512 records, then samples among 256, so the expressions of a photo, which is decoded once, are spread
    over some batches and not over the whole epoch.

    Args:
        data_dir: folder of the shards and `manifest.json`.
        tokenizer: `Tokenizer`.
        split: str.
        image_size: side of the square in pixels, a multiple of 8.
        image_resize: how a photo becomes the square, `"letterbox"` or `"plain"`.
        batch_size: global batch: samples, or photos with `per_image`.
        sampling: `"per_ref"`, `"per_expression"` or `"per_image"`.
        expressions_per_image: K of `per_image`.
        augment: `AugmentConfig`; nothing is changed by default. The scale jitter is the same for all samples that
            share a photo in an epoch; flip and colours are drawn for each sample.
        shuffle: bool. Without it the order is that of the shards, and the draws are the same in each epoch.
        seed: int. The same seed gives the same draws, and with `deterministic` the same batches.
        deterministic: bool. Keeps the order whatever the threads' timing; somewhat slower.
        drop_remainder: bool. Leaves out a last smaller batch of an epoch.
        fill_remainder: bool. Fills the last batch of an epoch with further samples of the split, drawn anew, so that
            all batches are whole: on any number of devices each one gets as much, and the steps are the same.
            `None`: where `drop_remainder` is off and the data set repeats or several replicas are in scope. An epoch
            that is neither filled nor dropped from holds each sample once.
        repeat: bool. Goes on epoch after epoch; a batch never holds samples of two epochs.
        first_epoch: int, with `repeat`. Starts as if so many epochs had been read, for resuming.
        epochs: int, with `repeat`. Ends behind so many epochs, `first_epoch` counted in; `None`: never.
        ids: bool. Whether `x` also holds `ref_id` and `photo_id`. Keras' own `fit` takes text on one replica alone.
        input_context: `tf.distribute.InputContext`. This worker then reads its share, in batches for one replica;
            where they are filled, all workers get equally many.
        image_features: callable of photo id (string scalar) and `flipped` (bool scalar), graph operations, giving a
            dict of tensors that replace `image` in `x`; no photo is decoded then. `flipped` means the whole square
            turned left to right.
        box_supervision: bool. Whether `y` also holds `box_mask`, what `BoxSupervision` takes, float32
            `(B, S / 4, S / 4, 5)`, and `sample_weight` its weights, 0 for objects that have a mask.
        num_workers: threads; by default as many as there are processors, at most 16 for each step.
        stages: `Stages` of one's own, which then say what a sample holds.
        service: address of a tf.data service dispatcher, `grpc://host:port`. Its workers make the samples then: the
            order is free, and with `repeat` a batch may hold samples of two epochs.

    Returns:
        `tf.data.Dataset` of `(x, y, sample_weight)`, B samples: `x` holds `image` float32 `(B, S, S, 3)` in 0..1 and
        `token_ids` int32 `(B, T)`; `y` holds `mask` float32 `(B, S / 4, S / 4, 1)` and `prior` float32
        `(B, S / 8, S / 8, 1)`, both 0 or 1; `sample_weight` holds `mask` and `prior`, float32 `(B,)`: an object that
        has a box alone has weight 0 for `mask`, and its `prior` is the filled box. With `per_image` all but `image`
        have an axis K behind B; a photo with fewer expressions repeats them with weight 0, and `expression_mask` in
        `x`, int32 `(B, K)`, is 0 there and else 1. With `ids`, `x` has `ref_id` string `(B,)` or `(B, K)` and
        `photo_id` string `(B,)`.

    Raises:
        DataError: no such data or split, or no whole batch in it.
        ValueError: a wrong argument.
    """
    _check(sampling, drop_remainder, fill_remainder, repeat, first_epoch, epochs)
    if service is not None and (input_context is not None or image_features is not None):
        raise ValueError("service shares the photos out itself: neither input_context nor image_features goes with it")
    shards = records.find_shards(data_dir, [split])
    total = count_samples(data_dir, split, sampling)
    fill = _fills(fill_remainder, drop_remainder, repeat)
    # Steps of an epoch where all its batches are whole, on all workers together.
    steps = -(-total // batch_size) if fill else total // batch_size if drop_remainder else None
    if steps == 0:
        raise DataError(f"{data_dir}: the split {split} has {total} samples, fewer than a batch of {batch_size}")
    if input_context is not None:
        batch_size = input_context.get_per_replica_batch_size(batch_size)
    num_expressions = expressions_per_image if sampling == "per_image" else None
    augment = augment or AugmentConfig()
    stages = stages or Stages(
        tokenizer,
        split,
        image_size,
        sampling,
        num_expressions,
        augment,
        image_features,
        ids,
        image_resize,
        box_supervision,
    )
    samples = _Samples(shards, stages, shuffle, num_workers, input_context, in_turn=service is not None)
    whole = None if steps is None else steps * batch_size
    filled = fill and (whole != total or input_context is not None)

    def epoch(epoch_seed):
        data = samples.all(epoch_seed)
        if filled:
            # A photo has a sample at least, so a batch of photos is enough; more would be decoded for nothing.
            data = data.concatenate(samples.all(epoch_seed + _FILLING, num_photos=batch_size).repeat())
        return data if whole is None else data.take(whole)

    def batched(data):
        return data.batch(batch_size, drop_remainder=whole is not None)

    def numbered(number):
        # The draws are this data set's own: with the global seed 0, TensorFlow would compare a seed that is a tensor
        # with 0 in Python.
        tf.compat.v1.get_default_graph().seed = None
        data = epoch(seed * 1_000_003 + (number if shuffle else 0))
        return batched(data) if whole is None else data

    if service is not None:
        num_epochs = None if epochs is None else epochs - first_epoch
        data = batched(_through_service(samples.all(seed), service, whole, repeat, fill, num_epochs))
    elif not repeat:
        data = batched(epoch(seed))
    else:
        numbers = tf.data.Dataset.range(first_epoch, tf.int64.max if epochs is None else epochs)
        data = numbers.flat_map(numbered)
        # The batch stands on top, where tf.distribute finds it: it would cut hidden ones into uneven shares. Only where
        # each epoch ends with a smaller one, it cannot.
        data = data if whole is None else batched(data)
    return data.with_options(pipeline_options(deterministic, num_workers)).prefetch(2)


@dataclasses.dataclass(frozen=True)
class _Samples:
    """Makes data sets of single samples."""

    shards: list
    stages: Stages
    shuffle: bool
    num_workers: int | None
    input_context: tf.distribute.InputContext | None
    in_turn: bool
    """Whether shards are read one after the other, and not several at once."""

    def all(self, seed, num_photos=None):
        """Samples of all photos of this worker, or of so many of them."""
        stages, shuffle = self.stages, self.shuffle
        workers = tf.data.AUTOTUNE if self.num_workers is None else self.num_workers
        # Each record gets a number, from which all its draws are made.
        numbers = tf.data.Dataset.random(seed, rerandomize_each_iteration=shuffle)
        data = tf.data.Dataset.zip(self._read(seed), numbers).map(stages.choose, workers).filter(stages.has_samples)
        data = data if num_photos is None else data.take(num_photos)
        data = data.map(stages.decode, workers)
        if not stages.together:
            data = data.flat_map(_separate)
            data = data.shuffle(_SAMPLES_BUFFER, seed) if shuffle else data
        return data.map(stages.finish, workers)

    def _read(self, seed):
        """Serialised records of this worker, shuffled if asked for."""
        shards, context = self.shards, self.input_context
        count = 1 if context is None else context.num_input_pipelines
        number = 0 if context is None else context.input_pipeline_id
        files = tf.data.Dataset.from_tensor_slices(shards)
        # Whole shards where they can be dealt out evenly; else every worker reads all and keeps each n-th record.
        by_file = len(shards) % count == 0
        files = files.shard(count, number) if by_file and count > 1 else files
        files = files.shuffle(len(shards), seed) if self.shuffle else files
        if self.in_turn:
            # Under a tf.data service each element came twice from `shuffle` and then `interleave` (TensorFlow 2.21).
            data = files.flat_map(tf.data.TFRecordDataset)
        else:
            data = files.interleave(tf.data.TFRecordDataset, cycle_length=_OPEN_SHARDS, block_length=4)
        data = data if by_file else data.shard(count, number)
        return data.shuffle(_RECORDS_BUFFER, seed) if self.shuffle else data


def _separate(photo, samples):
    """One element for each sample; all of them point to the same picture in memory."""
    return tf.data.Dataset.zip(
        tf.data.Dataset.from_tensors(photo).repeat(), tf.data.Dataset.from_tensor_slices(samples)
    )


def _through_service(data, address, whole, repeat, fill, num_epochs):
    """Lets the workers of a tf.data service make the samples, each one once an epoch; `whole` ones are an epoch."""
    mode = tf.data.experimental.service.ShardingPolicy.DYNAMIC
    data = data.apply(tf.data.experimental.service.distribute(mode, address))
    if whole is None:
        return data.repeat(-1 if num_epochs is None else num_epochs) if repeat else data
    data = data.repeat() if repeat or fill else data
    return data if repeat and num_epochs is None else data.take(whole * (num_epochs if repeat else 1))


def _check(sampling, drop_remainder, fill_remainder, repeat, first_epoch, epochs):
    if sampling not in MODES:
        raise ValueError(f"sampling must be one of {', '.join(MODES)}. Received: {sampling!r}")
    if drop_remainder and fill_remainder:
        raise ValueError("of drop_remainder and fill_remainder only one can be true. Received: both")
    if not repeat and (first_epoch or epochs is not None):
        raise ValueError(f"first_epoch and epochs need repeat=True. Received: {first_epoch}, {epochs}")


def _fills(fill_remainder, drop_remainder, repeat):
    if fill_remainder is None:
        return not drop_remainder and (repeat or tf.distribute.get_strategy().num_replicas_in_sync > 1)
    return fill_remainder
