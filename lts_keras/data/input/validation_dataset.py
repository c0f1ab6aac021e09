"""Validation while training: each photo once, with all its sentences, the same batches each time."""

import tensorflow as tf

from lts_keras.config.schema import AugmentConfig
from lts_keras.data.input.options import pipeline_options
from lts_keras.data.input.sampling import Chosen, photos_by_expressions
from lts_keras.data.input.stages import ROWS, Stages
from lts_keras.data.prepare import records

__all__ = ["validation_dataset"]


def validation_dataset(
    data_dir,
    tokenizer,
    *,
    split="val",
    image_size=416,
    image_resize="letterbox",
    batch_size=18,
    image_features=None,
    box_supervision=False,
    max_expressions=64,
    num_replicas=None,
    ids=False,
    num_workers=None,
):
    """Photos of a split with all their sentences, for `validation_data` of `model.fit` and for `model.evaluate`.

    A photo is decoded, and encoded by the model, once for all its sentences. Photos with about as many of them stand
    together: K is the power of two (or `max_expressions`) that all sentences of an element's photos fit into, and where
    K is large, B is small.

    Args:
        data_dir: folder of the shards and `manifest.json`.
        tokenizer: `Tokenizer`.
        split: str.
        image_size: side of the square in pixels, a multiple of 8.
        image_resize: how a photo becomes the square, `"letterbox"` or `"plain"`.
        batch_size: photos of an element, at most; rounded to a multiple of `num_replicas`, at least one each.
        image_features: as in `training_dataset`.
        box_supervision: as in `training_dataset`.
        max_expressions: largest K, and B * K for one replica, at most. A photo with more sentences is split over
            several rows or elements.
        num_replicas: int. B divides by it; that of the strategy in scope if `None`.
        ids: bool. Whether `x` also holds `ref_id` string `(B, K)` and `photo_id` string `(B,)`.
        num_workers: threads; by default as many as there are processors.

    Returns:
        `tf.data.Dataset` of `(x, y, sample_weight)`, its number of elements known: `x` holds `image` float32
        `(B, S, S, 3)` in 0..1 (or what `image_features` gives), `token_ids` int32 `(B, K, T)` and `expression_mask`
        int32 `(B, K)`, 0 for rows that only fill and else 1; `y` holds `mask` float32 `(B, K, S / 4, S / 4, 1)` and
        `prior` float32 `(B, K, S / 8, S / 8, 1)`; `sample_weight` holds `mask` and `prior`, float32 `(B, K)`, 0 for
        rows that only fill. The last element of each K is filled with copies of a photo whose weights all are 0; the
        first row of a copy is 1 in `expression_mask`, so that no replica is left without any.

    Raises:
        DataError: no such data or split, or nothing in it.
    """
    if num_replicas is None:
        num_replicas = tf.distribute.get_strategy().num_replicas_in_sync
    limits, sizes = _groups(batch_size, max_expressions, num_replicas)
    cardinality = _count_elements(photos_by_expressions(data_dir, split), limits, sizes)
    stages = Stages(
        tokenizer, split, image_size, "all", None, AugmentConfig(), image_features, ids, image_resize, box_supervision
    )
    workers = tf.data.AUTOTUNE if num_workers is None else num_workers

    def in_parts(record, chosen, seed):
        starts = tf.data.Dataset.range(0, tf.size(chosen.objects, tf.int64), max_expressions)
        return starts.map(lambda start: (record, Chosen(*(rows[start:][:max_expressions] for rows in chosen)), seed))

    def group(x, y, weights):
        return tf.reduce_sum(tf.cast(tf.shape(x["token_ids"])[0] > tf.constant(limits), tf.int64))

    def size(number):
        return tf.gather(tf.constant(sizes, tf.int64), number)

    def batch(number, photos):
        count = tf.gather(tf.constant(limits), number)
        photos = photos.map(lambda *photo: _pad(*photo, count)).batch(size(number))
        return photos.map(lambda *photos: _fill(*photos, num_replicas))

    data = tf.data.TFRecordDataset(records.find_shards(data_dir, [split]))
    data = data.map(lambda serialized: stages.choose(serialized, tf.zeros([], tf.int64)), workers).flat_map(in_parts)
    data = data.map(stages.decode, workers).map(stages.finish, workers)
    data = data.group_by_window(group, batch, window_size_func=size)
    data = data.apply(tf.data.experimental.assert_cardinality(cardinality))
    return data.with_options(pipeline_options(True, num_workers)).prefetch(1)


def _groups(batch_size, max_expressions, num_replicas):
    """K of each group of photos, and B: a multiple of the replicas with at most so many expressions on each."""
    limits = [2**power for power in range(max_expressions.bit_length()) if 2**power < max_expressions]
    limits.append(max_expressions)
    each = max(1, batch_size // num_replicas)
    return limits, [num_replicas * max(1, min(each, max_expressions // limit)) for limit in limits]


def _count_elements(photos, limits, sizes):
    """Number of elements, from `{number of expressions: number of photos}`."""
    parts = [0] * len(limits)
    for length, number in photos.items():
        whole, rest = divmod(length, limits[-1])
        parts[-1] += whole * number
        if rest:
            parts[sum(rest > limit for limit in limits)] += number
    return sum(-(-count // size) for count, size in zip(parts, sizes, strict=True))


def _pad(x, y, weights, count):
    """Puts rows behind a photo's sentences that only fill: no words, no weight."""

    def pad(rows):
        behind = [[0, count - tf.shape(rows)[0]], *[[0, 0]] * (rows.shape.rank - 1)]
        zero = "" if rows.dtype == tf.string else tf.zeros([], rows.dtype)
        return tf.pad(rows, behind, constant_values=zero)

    rows = {name: pad(value) for name, value in x.items() if name in ROWS}
    y, weights = tf.nest.map_structure(pad, (y, weights))
    return {**x, **rows}, y, weights


def _fill(x, y, weights, num_replicas):
    """Puts copies of the first photo, without weight, behind the others until all replicas get as many."""
    count = tf.shape(x["token_ids"])[0]
    places = tf.range(count + (-count) % num_replicas)
    real = places < count
    index = tf.where(real, places, 0)
    x, y, weights = tf.nest.map_structure(lambda value: tf.gather(value, index), (x, y, weights))
    # Its first row stays: on a replica that computed nothing, operations over no rows at all would fail.
    first = tf.range(tf.shape(x["expression_mask"])[1]) == 0
    x["expression_mask"] *= tf.cast(real[:, None] | first, tf.int32)
    weights = {name: value * tf.cast(real, tf.float32)[:, None] for name, value in weights.items()}
    return x, y, weights
