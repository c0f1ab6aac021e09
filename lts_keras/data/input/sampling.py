"""Which expressions of a photo become samples, by graph operations alone, and how many there are."""

import collections
import functools
import typing
from pathlib import Path

import tensorflow as tf

from lts_keras.data.prepare.records import find_shards, parse_record, read_manifest
from lts_keras.data.prepare.split_counts import SplitCounts
from lts_keras.data.schema import DataError

__all__ = ["MODES", "Chosen", "choose", "count_samples", "photos_by_expressions"]

MODES = ("per_ref", "per_expression", "per_image")


class Chosen(typing.NamedTuple):
    """Expressions of one photo, `n` of them."""

    expressions: tf.Tensor
    """string `(n,)`."""
    objects: tf.Tensor
    """int32 `(n,)`: which object of the record each one refers to."""
    weights: tf.Tensor
    """float32 `(n,)`: 1, or 0 for a repetition that only fills a row of `per_image`."""


def choose(record, splits, sampling=None, num_expressions=None, seed=None):
    """Chooses expressions of one photo.

    Args:
        record: dict of `parse_record`.
        splits: list of str. Objects of other splits are passed over.
        sampling: `"per_ref"`: one expression of each object, at random; `"per_image"`: `num_expressions` of all, at
            random, every object as likely as any other, the first ones again with weight 0 where the photo has fewer;
            all for any other value.
        num_expressions: int, for `"per_image"`.
        seed: int64 `(2,)`, for the random ones.

    Returns:
        `Chosen`; without any expression of these splits `n` is 0.
    """
    expressions = record["expressions"]
    owners = tf.cast(expressions.value_rowids(), tf.int32)
    wanted = tf.reduce_any(tf.equal(record["split"][:, None], tf.constant(list(splits))[None]), 1)
    picked = tf.cast(tf.where(tf.gather(wanted, owners))[:, 0], tf.int32)
    if sampling == "per_ref":
        picked = _one_each(expressions, wanted, seed)
    elif sampling == "per_image":
        picked = _draw(picked, tf.gather(tf.cast(expressions.row_lengths(), tf.float32), owners), num_expressions, seed)
    count = tf.size(picked)
    weights = tf.ones([count])
    if sampling == "per_image":
        places = tf.range(num_expressions)
        weights = tf.cast(places < count, tf.float32)
        # A photo without any has no row at all, and is left out by its empty shape.
        picked = tf.cond(count > 0, lambda: tf.gather(picked, places % count), lambda: picked)
        weights = weights[: tf.size(picked)]
    return Chosen(tf.gather(expressions.values, picked), tf.gather(owners, picked), weights)


def _draw(picked, lengths, count, seed):
    """Draws `count` expressions without putting back, each with a chance of 1 / (expressions of its object).

    The smallest of exponential waiting times at these rates are such a draw (Efraimidis and Spirakis, 2006). Without
    the rates, an object with many expressions would push the photo's others aside.
    """
    numbers = tf.random.stateless_uniform(tf.shape(picked), seed, minval=1e-12)
    waiting = -tf.math.log(numbers) * tf.gather(lengths, picked)
    return tf.gather(picked, tf.argsort(waiting))[:count]


def _one_each(expressions, wanted, seed):
    """Index of one random expression of each wanted object that has any."""
    lengths = tf.cast(expressions.row_lengths(), tf.int32)
    starts = tf.cast(expressions.row_starts(), tf.int32)
    numbers = tf.random.stateless_uniform(tf.shape(lengths), seed)
    # Float32 numbers close below 1 may round up to the length itself.
    inside = tf.minimum(tf.cast(numbers * tf.cast(lengths, tf.float32), tf.int32), lengths - 1)
    return tf.boolean_mask(starts + inside, wanted & (lengths > 0))


def count_samples(data_dir, split, sampling):
    """Number of samples (photos with `per_image`) of an epoch.

    From the manifest; where an older version of the library wrote it, the shards are read once.

    Raises:
        DataError: no such data or split, or none of its objects has an expression.
    """
    refs, photos = _counts(data_dir, split)
    if sampling == "per_ref":
        return refs
    return sum(number * (1 if sampling == "per_image" else length) for length, number in photos.items())


def photos_by_expressions(data_dir, split):
    """Returns `{number of expressions: number of photos with so many}` of a split; raises as `count_samples`."""
    return dict(_counts(data_dir, split)[1])


def _counts(data_dir, split):
    """Objects with an expression, and photos by their number of expressions."""
    paths = find_shards(data_dir, [split])
    shards = [shard for shard in read_manifest(data_dir)["shards"] if split in shard["splits"]]
    refs, photos = 0, collections.Counter()
    for shard, path in zip(shards, paths, strict=True):
        counts = shard.get("samples") or _read_counts(path, Path(path).stat().st_mtime_ns)
        counts = counts.get(split, {"refs": 0, "photos_by_expressions": {}})
        refs += counts["refs"]
        photos.update({int(length): number for length, number in counts["photos_by_expressions"].items()})
    if not refs:
        raise DataError(f"{data_dir}: no object of the split {split} has an expression")
    return refs, photos


@functools.lru_cache(maxsize=4096)
def _read_counts(path, _changed):
    counts = SplitCounts()
    for record in tf.data.TFRecordDataset(path).map(parse_record):
        lengths = record["expressions"].row_lengths().numpy().tolist()
        splits = [name.decode() for name in record["split"].numpy()]
        counts.add(zip(splits, lengths, strict=True))
    return counts.to_json()
