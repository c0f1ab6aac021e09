"""Every expression of some splits exactly once, with what evaluation at the original size needs."""

import tensorflow as tf

from lts_keras.data.input import geometry
from lts_keras.data.input.options import pipeline_options
from lts_keras.data.input.sampling import choose
from lts_keras.data.prepare import records
from lts_keras.data.schema import DataError

__all__ = ["evaluation_dataset"]

_OF_PHOTO = ("image", "photo_id", "original_size", "image_bytes")
_OF_OBJECT = ("ref_id", "dataset", "split", "category", "mask_png", "has_mask", "box")


def evaluation_dataset(
    data_dir,
    tokenizer,
    *,
    splits,
    image_size=416,
    image_resize="letterbox",
    batch_size=16,
    max_expressions=64,
    num_workers=None,
):
    """Photos with all their expressions, the same elements in the same order each time.

    Photos with about the same number of expressions stand together, so that an element never holds more than
    `max_expressions`; a photo with more is split over several elements.

    Args:
        data_dir: folder of the shards and `manifest.json`.
        tokenizer: `Tokenizer`.
        splits: list of str. Splits that the data does not have are passed over.
        image_size: side of the square in pixels.
        image_resize: how a photo becomes the square, `"letterbox"` or `"plain"`.
        batch_size: photos of an element, at most.
        max_expressions: expressions of an element, at most.
        num_workers: threads; by default as many as pay off.

    Returns:
        `tf.data.Dataset` of dicts, B photos with N expressions: `image` float32 `(B, S, S, 3)` in 0..1, `photo_id`
        and `image_bytes` string `(B,)`, `original_size` int32 `(B, 2)` height and width; `token_ids` int32 `(N, T)`,
        `image_index` int32 `(N,)` (which photo of the element), `expression`, `ref_id`, `dataset`, `split`,
        `category`, `mask_png` string `(N,)`, `has_mask` bool `(N,)`, `box` float32 `(N, 4)`.

    Raises:
        DataError: no such data, or none of the splits.
    """
    known = {split for shard in records.read_manifest(data_dir)["shards"] for split in shard["splits"]}
    found = [split for split in splits if split in known]
    if not found:
        raise DataError(f"{data_dir}: the data has the splits {', '.join(sorted(known))}. Received: {list(splits)}")
    workers = tf.data.AUTOTUNE if num_workers is None else num_workers

    def select(serialized):
        record = records.parse_record(serialized)
        return record, choose(record, found)

    def in_parts(record, chosen):
        starts = tf.data.Dataset.range(0, tf.size(chosen.objects, tf.int64), max_expressions)
        return starts.map(
            lambda start: (
                record,
                chosen.expressions[start:][:max_expressions],
                chosen.objects[start:][:max_expressions],
            )
        )

    def load(record, expressions, objects):
        return _load(record, expressions, objects, tokenizer, image_size, image_resize)

    data = tf.data.TFRecordDataset(records.find_shards(data_dir, found))
    data = data.map(select, workers).flat_map(in_parts).map(load, workers)
    data = _group(data, batch_size, max_expressions).map(_flatten)
    return data.with_options(pipeline_options(True)).prefetch(1)


def _load(record, expressions, objects, tokenizer, image_size, image_resize):
    """One photo, decoded, with rows for its expressions."""
    image = geometry.decode_image(record["image_bytes"], record["orientation"])
    return {
        "image": geometry.letterbox_image(image, image_size, image_resize),
        "photo_id": record["photo_id"],
        "image_bytes": record["image_bytes"],
        "original_size": tf.stack([tf.cast(record["height"], tf.int32), tf.cast(record["width"], tf.int32)]),
        "token_ids": tokenizer(expressions),
        "expression": expressions,
        **{name: tf.gather(record[name], objects) for name in _OF_OBJECT},
    }


def _group(data, batch_size, max_expressions):
    """Batches photos whose number of expressions is at most the same power of two: sums stay below the limit.

    Without a grouping by number, either one element may become too large, or most must stay small.
    """
    limits = [2**power for power in range(max_expressions.bit_length()) if 2**power < max_expressions]
    limits.append(max_expressions)
    sizes = [max(1, min(batch_size, max_expressions // limit)) for limit in limits]

    def key(photo):
        return tf.reduce_sum(tf.cast(tf.size(photo["expression"]) > tf.constant(limits), tf.int64))

    return data.group_by_window(
        key,
        lambda _, photos: photos.ragged_batch(max(sizes)),
        window_size_func=lambda group: tf.gather(tf.constant(sizes, tf.int64), group),
    )


def _flatten(photos):
    """Ragged rows of each photo's expressions -> flat ones and the index of their photo."""
    rows = {name: value for name, value in photos.items() if name not in _OF_PHOTO}
    index = tf.cast(rows["expression"].value_rowids(), tf.int32)
    flat = {name: value.values for name, value in rows.items()}
    return {**{name: photos[name] for name in _OF_PHOTO}, **flat, "image_index": index}
