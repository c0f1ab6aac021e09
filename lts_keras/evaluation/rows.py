"""Every expression of some splits answered: one row of plain values each, and the counts that scores are made of."""

import collections
import concurrent.futures

import numpy as np
import tensorflow as tf
from pycocotools import mask as coco_mask

from lts_keras.data.input.evaluation_dataset import evaluation_dataset
from lts_keras.data.text import Tokenizer
from lts_keras.evaluation.counting import count_answers, decode_truths, rows_at_once
from lts_keras.evaluation.facts import BOX_SHARES, Facts
from lts_keras.evaluation.slices import has_place_words
from lts_keras.evaluation.trivial import place_of_words
from lts_keras.evaluation.whose import whose_answer
from lts_keras.metrics import intersection_over_union

__all__ = ["rows_and_facts"]

_AHEAD = 2
"""Batches that each device may be ahead of the counting."""


def rows_and_facts(network, data_dir, splits, batch_size=16):
    """Yields `(row, facts)` for every expression of some splits, always in the same order.

    A row is what predictions.json holds of an expression; `Facts` are the counts that are not kept.

    Args:
        network: `ModelNetwork`, or what has its attributes and call.
        data_dir: folder of prepared data.
        splits: list of str.
        batch_size: int, photos that go through the network together, at most.
    """
    dataset = evaluation_dataset(
        data_dir,
        Tokenizer(network.vocabulary, network.max_tokens),
        splits=splits,
        image_size=network.image_size,
        image_resize=network.image_resize,
        batch_size=batch_size,
    )
    counting = _counting(network)
    for batch, (mask, prior) in _answered(network, dataset):
        values = {name: value.numpy() for name, value in batch.items() if name not in ("image", "token_ids")}
        sizes = values["original_size"][values["image_index"]]
        for size in np.unique(sizes, axis=0):
            (rows,) = np.nonzero((sizes == size).all(axis=1))
            step = rows_at_once(*map(int, size))
            for start in range(0, len(rows), step):
                yield from _judged(rows[start : start + step], size, values, mask, prior, counting)


def _answered(network, dataset):
    """Yields each batch with the network's answer, in order; every device works ahead by a few batches."""
    waiting = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(network.num_devices) as pool:
        try:
            for number, batch in enumerate(dataset):
                device = number % network.num_devices
                waiting.append((batch, pool.submit(network, batch, device)))
                if len(waiting) >= _AHEAD * network.num_devices:
                    first, answer = waiting.popleft()
                    yield first, answer.result()
            while waiting:
                first, answer = waiting.popleft()
                yield first, answer.result()
        finally:
            for _, answer in waiting:
                answer.cancel()


def _counting(network):
    size = network.image_size
    decode = tf.function(
        lambda pngs, size: decode_truths(pngs, size[0], size[1]),
        autograph=False,
        input_signature=[tf.TensorSpec((None,), tf.string), tf.TensorSpec((2,), tf.int32)],
    )
    count = tf.function(
        lambda *inputs: count_answers(*inputs, size, network.threshold, network.image_resize, network.presence),
        autograph=False,
        input_signature=[
            # Another model's grid need not be an LTS's.
            tf.TensorSpec((None, None, None, 1), tf.float32),
            tf.TensorSpec((None, None, None, 1), tf.float32),
            tf.TensorSpec((None, None, None), tf.bool),
            tf.TensorSpec((2,), tf.int32),
        ],
    )
    return decode, count


def _judged(rows, size, values, mask, prior, counting):
    """Rows and facts of expressions on photos of one size."""
    decode, count = counting
    size = tf.constant(size, tf.int32)
    used, which = np.unique(values["mask_index"][rows], return_inverse=True)
    truths = decode(tf.constant(values["mask_png"][used]), size)
    counted = count(tf.gather(mask, rows), tf.gather(prior, rows), tf.gather(truths, which), size)
    counted = {name: value.numpy() for name, value in counted.items()}
    truths = truths.numpy()
    # Run lengths go down the columns, so that the encoder wants the columns one behind the other.
    columns = np.ascontiguousarray(counted["mask"].transpose(0, 2, 1), "uint8")
    encoded, centered = coco_mask.encode(columns.T), {}
    for place, row in enumerate(rows):
        one = {name: value[place] for name, value in counted.items()}
        truth, key = truths[which[place]], which[place]
        if key not in centered:
            centered[key] = _centered(truth)
        yield _row(row, one, values, encoded[place]), _facts(row, one, values, truth, centered[key])


def _row(row, one, values, encoded):
    expression = _text(values["expression"][row])
    has_mask, box = bool(values["has_mask"][row]), values["box"][row]
    pixels, (x, y) = one["mask"].size, one["point"].tolist()
    has_target = bool(one["truth_pixels"] > 0) if has_mask else bool(box.any())
    intersection, union = int(one["intersection"]), int(one["union"])
    regions = values["region_index"] == values["image_index"][row]
    return {
        "ref_id": _text(values["ref_id"][row]),
        "expression": expression,
        "image_id": _text(values["photo_id"][values["image_index"][row]]),
        "dataset": _text(values["dataset"][row]),
        "split": _text(values["split"][row]),
        "category": _text(values["category"][row]),
        "score": float(one["score"]),
        "presence": float(one["presence"]),
        "box": one["box"].tolist(),
        "point": [x, y],
        "has_target": has_target,
        "intersection": intersection if has_mask else None,
        "union": union if has_mask else None,
        "iou": float(intersection_over_union(intersection, union)) if has_mask else None,
        "prior_hit": (bool(one["hit"]) if has_mask else _inside(box, x, y)) if has_target else None,
        "area": float(one["truth_pixels"]) / pixels if has_mask else float(_area(box)) / pixels,
        "rivals": int(values["rivals"][row]) if has_target else -1,
        "num_words": int(values["num_words"][row]),
        "unknown_words": int(values["unknown_words"][row]),
        "place_words": has_place_words(expression),
        "found": whose_answer(
            one["mask"],
            box if has_target else None,
            values["category"][row],
            values["region_box"][regions],
            values["region_category"][regions],
            bool(values["several"][row]),
        ),
        "segmentation": {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")},
    }


def _facts(row, one, values, truth, centered):
    has_mask, box = bool(values["has_mask"][row]), values["box"][row]
    height, width = truth.shape

    def hit(place):
        x, y = int(place[0] * width), int(place[1] * height)
        return bool(truth[y, x]) if has_mask else _inside(box, x, y)

    has_target = bool(one["truth_pixels"] > 0) if has_mask else bool(box.any())
    return Facts(
        highest=tuple(one["highest"].tolist()),
        pixels=truth.size,
        truth_pixels=int(one["truth_pixels"]) if has_mask else None,
        sweep=one["sweep"] if has_mask else None,
        centered=centered if has_mask else None,
        center_hit=hit((0.5, 0.5)) if has_target else None,
        rule_hit=hit(place_of_words(_text(values["expression"][row]))) if has_target else None,
    )


def _centered(truth):
    """Intersection and union of the truth and each centred box: int64 `(2, boxes)`."""
    area, pairs = int(np.count_nonzero(truth)), []
    for share in BOX_SHARES:
        top, left = (round(side * (1 - share) / 2) for side in truth.shape)
        inner = truth[top : truth.shape[0] - top, left : truth.shape[1] - left]
        common = int(np.count_nonzero(inner))
        pairs.append((common, area + inner.size - common))
    return np.array(pairs, "int64").T


def _inside(box, x, y):
    x0, y0, x1, y1 = box
    return bool(x0 <= x + 0.5 < x1 and y0 <= y + 0.5 < y1)


def _area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def _text(value):
    return value.decode("utf-8", "replace")
