"""Photos and sentences that 8-bit ranges are taken from: prepared ones, else drawn ones."""

import itertools

import numpy as np

from lts_keras.data.input.geometry import decode_image, letterbox_image
from lts_keras.data.prepare.records import MANIFEST_FILE, find_shards, parse_record, read_manifest, read_records
from lts_keras.data.sources.scene_drawing import Look
from lts_keras.data.sources.scenes import draw_scene
from lts_keras.data.text import Tokenizer

__all__ = ["calibration_questions", "has_photos"]


def has_photos(data_dir):
    """Whether a folder holds prepared data."""
    return (data_dir / MANIFEST_FILE).is_file()


def calibration_questions(model, data_dir, count):
    """Yields `(image, token_ids)`, float32 `(S, S, 3)` and int32 `(T,)`, as the network takes them.

    Args:
        model: `LTS` with a vocabulary.
        data_dir: `Path` of prepared data: photos of its train split, some of each shard, or of what splits it has.
            Where nothing is there, scenes are drawn.
        count: int, how many.

    Raises:
        DataError: a shard is missing or damaged.
    """
    tokenizer = Tokenizer(model.vocabulary, model.max_tokens)
    resize = getattr(model, "image_resize", "letterbox")
    photos = _prepared(data_dir, count) if has_photos(data_dir) else _drawn(model.image_size)
    for content, orientation, expression in itertools.islice(photos, count):
        image = letterbox_image(decode_image(content, orientation), model.image_size, resize)
        yield image.numpy(), tokenizer([expression])[0].numpy()


def _prepared(data_dir, count):
    """Yields the photos' bytes, orientation and first expression, one of each shard in turn."""
    splits = {split for shard in read_manifest(data_dir)["shards"] for split in shard["splits"]}
    shards = find_shards(data_dir, ["train"] if "train" in splits else None)
    for turn in itertools.zip_longest(*map(read_records, shards[:: max(1, len(shards) // count)])):
        for serialized in filter(None, turn):
            record = parse_record(serialized)
            expressions = record["expressions"].values.numpy()
            if len(expressions):
                yield record["image_bytes"], record["orientation"], expressions[0]


def _drawn(size):
    """Yields endless scenes about as large as the square, the same ones each time."""
    random = np.random.default_rng(0)
    while True:
        sides = tuple(int(side) for side in random.integers(max(32, 3 * size // 4), size + 1, 2))
        content, _, texts, _ = draw_scene(random, sides, Look(), "train")
        yield content, 1, texts[0][0].encode()
