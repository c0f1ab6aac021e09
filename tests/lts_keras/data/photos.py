"""A small data set of made-up photos, written as `lts prepare` writes it."""

import io

import numpy as np
import tensorflow as tf
from PIL import Image

from lts_keras.data import text
from lts_keras.data.prepare import records
from lts_keras.data.schema import Photo, ReferredObject

SIZES = ((60, 80), (80, 60), (64, 64), (200, 120), (33, 90), (96, 96), (50, 51))


def make_photo(number, size, kind="PNG"):
    """Photo `number`: three objects, of which the last has a box alone or stands in another split."""
    rng = np.random.default_rng(number)
    height, width = size
    # Large blocks of colour, so that resizing does not blur everything to grey.
    blocks = rng.integers(0, 256, (4, 4, 3), "uint8")
    image = np.asarray(Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST))
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind)
    left, right = np.zeros((height, width), bool), np.zeros((height, width), bool)
    left[height // 4 :, : width // 3] = True
    right[: height // 2, width // 2 :] = True
    name = f"{number:03d}"
    objects = [
        ReferredObject(f"{name}-a", "made", "train", (f"left thing {name}", f"the left one {name}"), left, None),
        ReferredObject(f"{name}-b", "made", "train", (f"right thing {name}",), right, None),
        ReferredObject(f"{name}-c", "made", "train", (f"box {name}", f"plain box {name}"), None, (2, 3, 30, 20)),
        ReferredObject(f"{name}-d", "made", "val", (f"hidden {name}",), right, None),
    ]
    return Photo(f"made:{name}", buffer.getvalue(), height, width, tuple(objects[: 4 if number % 2 else 2]))


def write_photos(folder, photos, num_shards=2):
    """Writes photos and manifest into `folder`; returns a tokenizer of all their words."""
    shards = []
    for shard in range(num_shards):
        part = photos[shard::num_shards]
        file = f"all-{shard}.tfrecord"
        with tf.io.TFRecordWriter(str(folder / file)) as writer:
            for photo in part:
                writer.write(records.make_record(photo))
        splits = sorted({item.split for photo in part for item in photo.objects})
        slices = {}
        for split in splits:
            items = [item for photo in part for item in photo.objects if item.split == split]
            slices[f"made/{split}"] = {"refs": len(items), "expressions": sum(len(item.expressions) for item in items)}
        size = (folder / file).stat().st_size
        entry = {"file": file, "sha256": "", "bytes": size, "photos": len(part), "splits": splits}
        entry["slices"] = slices
        shards.append(entry)
    records.write_manifest(folder, shards)
    words = text.build_vocabulary(line for photo in photos for item in photo.objects for line in item.expressions)
    return text.Tokenizer(words, 6)
