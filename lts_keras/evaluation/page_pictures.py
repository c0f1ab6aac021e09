"""The photos of judged expressions, read again from the prepared data, and answers drawn over them for a page."""

import base64
import io

import numpy as np
import tensorflow as tf
from PIL import Image
from pycocotools import mask as coco_mask

from lts_keras.data.input.geometry import decode_image
from lts_keras.data.prepare.masks import decode_mask
from lts_keras.data.prepare.records import find_shards, parse_record
from lts_keras.evaluation import pictures

__all__ = ["answer_mask", "draw_answer", "draw_prior", "draw_truth", "embed", "read_photos", "shrink"]

_SIDE = 360
"""Longest side of a picture in the page, pixels."""
_HATCH = 9
"""Pixels between the stripes over an answer."""


def read_photos(rows, data_dir):
    """Reads the photos of judged expressions.

    Args:
        rows: list of dicts of predictions.json.
        data_dir: folder of prepared data.

    Yields:
        `(number, photo, truth)` in the order of the data, for those of `rows` whose photo is there: the place in
        `rows`, uint8 `(height, width, 3)`, and the truth: bool `(height, width)`, a box float32 `(4,)` where the object
        has no mask. One photo at a time is in memory.

    Raises:
        DataError: no prepared data there, or not all of it.
    """
    wanted = {}
    for number, row in enumerate(rows):
        wanted.setdefault((row["image_id"], row["dataset"], row["ref_id"]), []).append(number)
    shards = find_shards(data_dir, sorted({row["split"] for row in rows}))
    ids = tf.constant(sorted({row["image_id"] for row in rows}), tf.string)
    records = tf.data.TFRecordDataset(shards).map(parse_record, num_parallel_calls=2)
    for record in records.filter(lambda record: tf.reduce_any(record["photo_id"] == ids)).as_numpy_iterator():
        photo, photo_id = None, record["photo_id"].decode()
        objects = zip(record["dataset"], record["ref_id"], record["has_mask"], record["mask_png"], strict=True)
        for place, (dataset, ref_id, has_mask, png) in enumerate(objects):
            for number in wanted.pop((photo_id, dataset.decode(), ref_id.decode()), ()):
                if photo is None:
                    photo = decode_image(record["image_bytes"], record["orientation"]).numpy()
                yield number, photo, decode_mask(png) if has_mask else record["box"][place]


def answer_mask(row):
    """The answer's mask, bool `(height, width)`."""
    return coco_mask.decode(row["segmentation"]).astype(bool)


def draw_answer(photo, row):
    """The answer over the photo: tinted, outlined and hatched, so that it shows on any photo and without colour.

    Args:
        photo: uint8 `(height, width, 3)`.
        row: dict of predictions.json.

    Returns:
        uint8 picture of at most 360 pixels a side, as the other functions here give it.
    """
    small = shrink(photo)
    mask = _shrink_mask(answer_mask(row), small.shape[:2])
    picture = pictures.overlay(small, mask)
    y, x = np.indices(mask.shape)
    picture[mask & ((x + y) % _HATCH == 0)] //= 2
    return picture


def draw_prior(photo, prior, point):
    """The prior, float `(height, width)`, as a heat map with a cross at its maximum."""
    small = shrink(photo)
    height, width = small.shape[:2]
    level = Image.fromarray(np.asarray(prior, "float32")).resize((width, height), Image.Resampling.BILINEAR)
    place = [
        side * length / whole for side, length, whole in zip(point, (width, height), photo.shape[1::-1], strict=True)
    ]
    return pictures.heat_map(small, np.asarray(level), point=place)


def draw_truth(photo, truth):
    """The true mask, tinted and outlined; the outline of the box where there is no mask."""
    small = shrink(photo)
    if truth.dtype == bool:
        return pictures.overlay(small, _shrink_mask(truth, small.shape[:2]), color=pictures.TRUTH)
    height, width = small.shape[:2]
    scale = width / photo.shape[1], height / photo.shape[0]
    x0, y0, x1, y1 = (max(0, round(side * scale[place % 2])) for place, side in enumerate(truth.tolist()))
    inside = np.zeros((height, width), bool)
    inside[y0:y1, x0:x1] = True
    return pictures.overlay(small, inside, color=pictures.TRUTH, alpha=0.0)


def shrink(photo):
    """The photo at the size at which a page shows it: what is drawn later is then as thick in every photo."""
    return np.asarray(pictures.fit(photo, _SIDE))


def embed(picture):
    """A picture, uint8 `(height, width, 3)`, as the data URI of a JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _shrink_mask(mask, size):
    if mask.shape == size:
        return mask
    share = np.asarray(Image.fromarray(mask.astype("uint8") * 255).resize(size[::-1], Image.Resampling.BOX))
    # A mask of a few pixels of a large photo stays to be seen.
    return share > (127 if share.max() > 127 else 0)
