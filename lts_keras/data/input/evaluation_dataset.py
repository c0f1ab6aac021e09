"""Every expression of some splits exactly once, with what evaluation at the original size needs."""

import tensorflow as tf

from lts_keras.data.input import geometry
from lts_keras.data.input.annotated_objects import annotated_objects
from lts_keras.data.input.options import pipeline_options
from lts_keras.data.input.sampling import choose
from lts_keras.data.prepare import records
from lts_keras.data.schema import DataError

__all__ = ["evaluation_dataset", "most_rows"]

_OF_PHOTO = ("image", "photo_id", "original_size")
_ROWS_AT_416 = 16
_WINDOW = 32
"""Photos, undecoded, among which those of one size are brought together."""


def most_rows(image_size):
    """Expressions that go through the network together: 16 at 416 pixels, and as much memory at another size.

    An expression takes about 20 MB there, the features of its image that are gathered for it above all.
    """
    return min(512, max(1, round(_ROWS_AT_416 * (416 / image_size) ** 2)))


def evaluation_dataset(
    data_dir,
    tokenizer,
    *,
    splits,
    image_size=416,
    image_resize="letterbox",
    batch_size=16,
    max_expressions=None,
    num_workers=None,
):
    """Photos with all their expressions, the same elements in the same order each time.

    Photos of one size stand near each other, and those with about the same number of expressions come together, so that
    an element never holds more than `max_expressions`; a photo with more is split over several elements.

    Args:
        data_dir: folder of the shards and `manifest.json`.
        tokenizer: `Tokenizer`.
        splits: list of str. Splits that the data does not have are passed over.
        image_size: side of the square in pixels.
        image_resize: how a photo becomes the square, `"letterbox"` or `"plain"`.
        batch_size: photos of an element, at most.
        max_expressions: expressions of an element, at most; by default what `most_rows` gives.
        num_workers: threads; by default as many as pay off.

    Returns:
        `tf.data.Dataset` of dicts, B photos with N expressions, M masks and R annotated objects: `image` float32 `(B,
        S, S, 3)` in 0..1, `photo_id` string `(B,)`, `original_size` int32 `(B, 2)` height and width; `token_ids` int32
        `(N, T)`, `num_words` and `unknown_words` int32 `(N,)`, `image_index` int32 `(N,)` (which photo of the element),
        `expression`, `ref_id`, `dataset`, `split`, `category` string `(N,)`, `has_mask`, `several` bool `(N,)`, `box`
        float32 `(N, 4)`, `rivals` int32 `(N,)` (see `annotated_objects`), `mask_index` int32 `(N,)`; `mask_png` string
        `(M,)`, each once for all its expressions; `region_index` int32 `(R,)` (which photo), `region_box` float32 `(R,
        4)`, `region_category` string `(R,)`.

    Raises:
        DataError: no such data, or none of the splits.
    """
    known = {split for shard in records.read_manifest(data_dir)["shards"] for split in shard["splits"]}
    found = [split for split in splits if split in known]
    if not found:
        raise DataError(f"{data_dir}: the data has the splits {', '.join(sorted(known))}. Received: {list(splits)}")
    workers = tf.data.AUTOTUNE if num_workers is None else num_workers
    most = max_expressions or most_rows(image_size)

    def select(serialized):
        record = records.parse_record(serialized)
        return record, choose(record, found)

    def in_parts(record, chosen):
        starts = tf.data.Dataset.range(0, tf.size(chosen.objects, tf.int64), most)
        return starts.map(lambda start: (record, chosen.expressions[start:][:most], chosen.objects[start:][:most]))

    def load(record, expressions, objects):
        return _load(record, expressions, objects, tokenizer, image_size, image_resize)

    data = _by_size(tf.data.TFRecordDataset(records.find_shards(data_dir, found)))
    data = data.map(select, workers).flat_map(in_parts).map(load, workers)
    data = _group(data, batch_size, most).map(_flatten)
    return data.with_options(pipeline_options(True)).prefetch(1)


def _by_size(serialized):
    """Brings photos of one size together within windows of records, which are small as long as they are not decoded."""

    def size(one):
        record = records.parse_record(one)
        return record["height"] * 2**31 + record["width"], one

    def ordered(sizes, window):
        return tf.data.Dataset.from_tensor_slices(tf.gather(window, tf.argsort(sizes, stable=True)))

    return serialized.map(size, 1).batch(_WINDOW).flat_map(ordered)


def _load(record, expressions, objects, tokenizer, image_size, image_resize):
    """One photo, decoded, with rows for its expressions."""
    image = geometry.decode_image(record["image_bytes"], record["orientation"])
    around = annotated_objects(record)
    distinct, mask_index = tf.unique(objects)
    words = tokenizer.word_ids(expressions)
    return {
        "image": geometry.letterbox_image(image, image_size, image_resize),
        "photo_id": record["photo_id"],
        "original_size": tf.stack([tf.cast(record["height"], tf.int32), tf.cast(record["width"], tf.int32)]),
        "token_ids": tokenizer(expressions),
        "num_words": tf.cast(words.row_lengths(), tf.int32),
        "unknown_words": tf.reduce_sum(tf.cast(words == tokenizer.unknown, tf.int32), axis=1),
        "expression": expressions,
        **{name: tf.gather(record[name], objects) for name in ("ref_id", "dataset", "split", "category")},
        **{name: tf.gather(record[name], objects) for name in ("has_mask", "several", "box")},
        "rivals": tf.gather(around.rivals, objects),
        "mask_index": mask_index,
        "mask_png": tf.gather(record["mask_png"], distinct),
        "region_box": around.boxes,
        "region_category": around.categories,
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
    """Ragged rows of each photo -> flat ones and the index of their photo."""
    rows = {name: value for name, value in photos.items() if name not in _OF_PHOTO}
    flat = {name: value.values for name, value in rows.items()}
    # Masks are counted within their photo until here.
    first = tf.cast(rows["mask_png"].row_starts(), tf.int32)
    owner = tf.cast(rows["expression"].value_rowids(), tf.int32)
    flat["mask_index"] += tf.gather(first, owner)
    region_owner = tf.cast(rows["region_box"].value_rowids(), tf.int32)
    photo = {name: photos[name] for name in _OF_PHOTO}
    return {**photo, **flat, "image_index": owner, "region_index": region_owner}
