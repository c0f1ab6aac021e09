"""Which expressions of a photo become samples, by graph operations alone, and how many there are."""

import typing

import tensorflow as tf

from lts_keras.data.prepare.records import find_shards, read_manifest

__all__ = ["MODES", "Chosen", "choose", "count_samples"]

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
            `"per_expression"` or `None`: all.
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
    """Number of samples (photos with `per_image`) of an epoch, from the manifest alone.

    Raises:
        DataError: no such data or split.
    """
    find_shards(data_dir, [split])
    shards = [shard for shard in read_manifest(data_dir)["shards"] if split in shard["splits"]]
    if sampling == "per_image":
        # A shard holds photos of one and the same set of splits; a photo of several data sets counts once.
        return sum(shard["photos"] for shard in shards)
    unit = "refs" if sampling == "per_ref" else "expressions"
    slices = [item for shard in shards for item in shard["slices"].items()]
    return sum(counts[unit] for name, counts in slices if name.rpartition("/")[2] == split)
