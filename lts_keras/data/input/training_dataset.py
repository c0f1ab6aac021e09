"""Batches for training, read from the records of `lts prepare`. Graph operations alone.

A photo is decoded once for all of its samples: a record becomes one small uint8 picture and its targets, which several
samples then share in memory. What waits to be shuffled is small, so memory is bounded whatever the data's size: records
as they lie on disk (undecoded), and samples that point to shared pictures.
"""

import tensorflow as tf

from lts_keras.config.schema import AugmentConfig
from lts_keras.data.input.sampling import MODES
from lts_keras.data.input.stages import Stages
from lts_keras.data.prepare import records

__all__ = ["training_dataset"]

_OPEN_SHARDS = 8
_RECORDS_BUFFER = 512
_SAMPLES_BUFFER = 256


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
    repeat=False,
    first_epoch=0,
    input_context=None,
    image_features=None,
    num_workers=None,
    service=None,
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
        shuffle: bool. Without it the order is that of the shards; draws stay random.
        seed: int. The same seed gives the same draws, and with `deterministic` the same batches.
        deterministic: bool. Keeps the order whatever the threads' timing; somewhat slower.
        drop_remainder: bool. Leaves out a last smaller batch of an epoch.
        repeat: bool. Goes on for ever, epoch after epoch; a batch never holds samples of two epochs.
        first_epoch: int, with `repeat`. Starts as if so many epochs had been read, for resuming.
        input_context: `tf.distribute.InputContext`. This worker then reads its share, in batches for one replica.
        image_features: callable of photo id (string scalar) and `flipped` (bool scalar), graph operations, giving a
            dict of tensors that replace `image` in `x`; no photo is decoded then. `flipped` means the whole square
            turned left to right.
        num_workers: threads; by default as many as pay off.
        service: address of a tf.data service dispatcher, `grpc://host:port`. Its workers do the work then: the
            order is free, and each of them ends an epoch with a smaller batch of its own.

    Returns:
        `tf.data.Dataset` of `(x, y, sample_weight)`, B samples: `x` holds `image` float32 `(B, S, S, 3)` in 0..1 and
        `token_ids` int32 `(B, T)`; `y` holds `mask` float32 `(B, S / 4, S / 4, 1)` and `prior` float32
        `(B, S / 8, S / 8, 1)`, both 0 or 1; `sample_weight` holds `mask` and `prior`, float32 `(B,)`: an object that
        has a box alone has weight 0 for `mask`, and its `prior` is the filled box. With `per_image` all but `image`
        have an axis K behind B; a photo with fewer expressions repeats them with weight 0.

    Raises:
        DataError: no such data or split.
        ValueError: a wrong argument.
    """
    if sampling not in MODES:
        raise ValueError(f"sampling must be one of {', '.join(MODES)}. Received: {sampling!r}")
    if service is not None and (input_context is not None or image_features is not None):
        raise ValueError("service shares the photos out itself: neither input_context nor image_features goes with it")
    if input_context is not None:
        batch_size = input_context.get_per_replica_batch_size(batch_size)
    shards = records.find_shards(data_dir, [split])
    num_expressions = expressions_per_image if sampling == "per_image" else None
    augment = augment or AugmentConfig()
    stages = Stages(tokenizer, split, image_size, sampling, num_expressions, augment, image_features, image_resize)
    workers = tf.data.AUTOTUNE if num_workers is None else num_workers

    def epoch(epoch_seed):
        data = _read(shards, shuffle, epoch_seed, input_context, in_turn=service is not None)
        # Each record gets a number, from which all its draws are made.
        data = tf.data.Dataset.zip(data, tf.data.Dataset.random(epoch_seed, rerandomize_each_iteration=True))
        data = data.map(stages.choose, workers).filter(stages.has_samples).map(stages.decode, workers)
        if num_expressions is None:
            data = data.flat_map(_separate)
            data = data.shuffle(_SAMPLES_BUFFER, epoch_seed) if shuffle else data
        return data.map(stages.finish, workers).batch(batch_size, drop_remainder)

    if service is not None:
        data = _through_service(epoch(seed), service)
        data = data.repeat() if repeat else data
    elif repeat:
        epochs = tf.data.Dataset.range(first_epoch, tf.int64.max)
        data = epochs.flat_map(lambda number: epoch(seed * 1_000_003 + number))
    else:
        data = epoch(seed)
    return data.with_options(_options(deterministic, num_workers)).prefetch(2)


def _read(shards, shuffle, seed, input_context, in_turn):
    """Serialised records of this worker, shuffled if asked for; several shards at once, or one after the other."""
    count = 1 if input_context is None else input_context.num_input_pipelines
    number = 0 if input_context is None else input_context.input_pipeline_id
    files = tf.data.Dataset.from_tensor_slices(shards)
    # Whole shards where they can be dealt out evenly; else every worker reads all and keeps each n-th record.
    by_file = len(shards) % count == 0
    files = files.shard(count, number) if by_file and count > 1 else files
    files = files.shuffle(len(shards), seed) if shuffle else files
    if in_turn:
        # Under a tf.data service each element came twice from `shuffle` and then `interleave` (TensorFlow 2.21).
        data = files.flat_map(tf.data.TFRecordDataset)
    else:
        data = files.interleave(tf.data.TFRecordDataset, cycle_length=_OPEN_SHARDS, block_length=4)
    data = data if by_file else data.shard(count, number)
    return data.shuffle(_RECORDS_BUFFER, seed) if shuffle else data


def _options(deterministic, num_workers):
    options = tf.data.Options()
    options.deterministic = deterministic
    # Sharing out is done above; tf.distribute must not do it again.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    if num_workers is not None:
        options.threading.private_threadpool_size = num_workers
    # Several photos at a time beat several threads on one photo.
    options.threading.max_intra_op_parallelism = 1
    return options


def _through_service(data, address):
    """Lets the workers of a tf.data service make the batches, each sample once."""
    mode = tf.data.experimental.service.ShardingPolicy.DYNAMIC
    return data.apply(tf.data.experimental.service.distribute(mode, address))


def _separate(photo, samples):
    """One element for each sample; all of them point to the same picture in memory."""
    return tf.data.Dataset.zip(
        tf.data.Dataset.from_tensors(photo).repeat(), tf.data.Dataset.from_tensor_slices(samples)
    )
